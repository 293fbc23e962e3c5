"""Intervals for proportions: Wilson's score interval (Wilson 1927, JASA 22, 209).

Accuracies come from a few dozen to a few thousand questions; the textbook interval p +- z*se
collapses at 0% and 100% and is too narrow for small counts, Wilson's is not.
"""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


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
    share = correct / total
    centre = share + z * z / (2 * total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the bound is exact; the formula misses it by rounding.
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == total else (centre + half) / scale
    return low, high
