"""Intervals for accuracies and for their differences, at 95% unless told otherwise.

* :func:`wilson` for one share (Wilson 1927, JASA 22, 209): accuracies come from a few dozen to a
  few thousand questions; the textbook interval p +- z*se collapses at 0% and 100% and is too narrow
  for small counts, Wilson's is not.
* :func:`clustered` for a share of rows that come in groups, such as one question asked in several
  orders: Wilson's with the number of independent rows that would know as much (Dean & Pagano 2015,
  J. Surv. Stat. Methodol. 3, 484).
* :func:`difference` for two shares of different questions (Newcombe 1998, Stat. Med. 17, 873,
  method 10: made of two Wilson intervals).
* :func:`paired_difference` for two shares of the same questions (Tango 1998, Stat. Med. 17, 891).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum, hypot, inf, isinf, sqrt

Z_95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""

_HALVINGS = 200
"""More than enough for a bisection of [-1, 1] to end at neighbouring floats."""


def wilson(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Returns the Wilson score interval of ``correct`` successes in ``total`` trials.

    Args:
        correct: successes.
        total: trials; 0 gives (0, 1): nothing is known.
        z: normal quantile; the default is 95%, two-sided.

    Returns:
        Lower and upper end, both within [0, 1].

    Raises:
        ValueError: the counts are not 0 <= correct <= total.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"{correct} of {total} is not a proportion")
    if total == 0:
        return 0.0, 1.0
    low, high = _score_interval(correct / total, total, z)
    # At the ends the bound is exact; the formula misses it by rounding.
    return 0.0 if correct == 0 else low, 1.0 if correct == total else high


def _score_interval(share: float, total: float, z: float) -> tuple[float, float]:
    centre = share + z * z / (2 * total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return (centre - half) / scale, (centre + half) / scale


def clustered(
    correct: Sequence[int], total: Sequence[int], z: float = Z_95
) -> tuple[float, float, float]:
    """Returns a share over clustered rows with its interval.

    The variance is the one between clusters (the sandwich estimator with clusters as units, what
    Miller 2024, arXiv:2411.00640, section 2.2 asks for); the interval is Wilson's for the number
    of independent rows with the same variance.

    Args:
        correct: successes of each cluster.
        total: rows of each cluster, at least one.
        z: normal quantile.

    Returns:
        The share, lower and upper end. Where all rows agree the variance tells nothing; then every
        cluster counts as one row.

    Raises:
        ValueError: there is no cluster, or counts are impossible.
    """
    if not total or len(correct) != len(total):
        raise ValueError(f"{len(correct)} and {len(total)} counts are not those of clusters")
    if any(not 0 <= c <= t or t < 1 for c, t in zip(correct, total, strict=True)):
        raise ValueError("a cluster's counts are not those of a proportion")
    rows, clusters = sum(total), len(total)
    share = sum(correct) / rows
    if share in (0.0, 1.0):
        low, high = wilson(clusters if share else 0, clusters, z)
        return share, low, high
    variance = inf
    if clusters > 1:
        squares = ((c - share * t) ** 2 for c, t in zip(correct, total, strict=True))
        variance = fsum(squares) * clusters / (clusters - 1) / rows**2
    # Clusters that all happen to have the same share would else give an interval of no width.
    effective = 1.0 if isinf(variance) else rows
    if 0 < variance < inf:
        effective = min(max(share * (1 - share) / variance, 1.0), rows)
    low, high = _score_interval(share, effective, z)
    return share, max(low, 0.0), min(high, 1.0)


def difference(
    correct_a: int, total_a: int, correct_b: int, total_b: int, z: float = Z_95
) -> tuple[float, float]:
    """Returns the interval of the share of b minus that of a, which are independent.

    Returns:
        Lower and upper end, within [-1, 1]; (-1, 1) where a total is 0.
    """
    low_a, high_a = wilson(correct_a, total_a, z)
    low_b, high_b = wilson(correct_b, total_b, z)
    if total_a == 0 or total_b == 0:
        return -1.0, 1.0
    share_a, share_b = correct_a / total_a, correct_b / total_b
    found = share_b - share_a
    below = hypot(share_b - low_b, high_a - share_a)
    above = hypot(high_b - share_b, share_a - low_a)
    return found - below, found + above


def paired_difference(a_only: int, b_only: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Returns the interval of (share right by b) - (share right by a) over the same questions.

    It inverts the score test whose value at no difference is McNemar's, so that interval and test
    agree but for McNemar's being exact.

    Args:
        a_only: questions that only a has right.
        b_only: questions that only b has right.
        total: all questions, at least one.
        z: normal quantile.

    Returns:
        Lower and upper end, within [-1, 1].

    Raises:
        ValueError: the counts are impossible.
    """
    if total < 1 or a_only < 0 or b_only < 0 or a_only + b_only > total:
        raise ValueError(f"{a_only} and {b_only} of {total} are no paired counts")
    found = (b_only - a_only) / total
    low = _bisect(lambda d: _tango(b_only, a_only, total, d) > z, -1.0, found)
    high = _bisect(lambda d: _tango(b_only, a_only, total, d) >= -z, found, 1.0)
    return low, high


def _tango(gained: int, lost: int, total: int, delta: float) -> float:
    """Returns Tango's score statistic of the hypothesis that the difference is ``delta``.

    ``q`` is the maximum-likelihood share of ``lost`` under it (Tango's q21, a quadratic's root).
    """
    a = 2 * total
    b = -gained - lost + (2 * total - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    q = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    excess = gained - lost - total * delta
    variance = total * (2 * q + delta * (1 - delta))
    if variance <= 0:
        return 0.0 if excess == 0 else inf if excess > 0 else -inf
    return excess / sqrt(variance)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Returns where ``holds`` turns from true to false between ``low`` and ``high``."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if holds(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2
