"""Intervals against statsmodels and against likelihoods maximised numerically."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from statsmodels.api import OLS
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from core.intervals import Z_95, clustered, difference, paired_difference, wilson


@pytest.mark.parametrize("total", [1, 2, 7, 30, 101, 3846])
def test_equals_statsmodels(total: int) -> None:
    for correct in sorted({0, 1, total // 4, total // 2, total - 1, total}):
        expected = proportion_confint(correct, total, alpha=0.05, method="wilson")
        assert wilson(correct, total) == pytest.approx(expected, abs=1e-12)


def test_ends_are_exact() -> None:
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_no_trials_know_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_other_level() -> None:
    expected = proportion_confint(12, 40, alpha=0.10, method="wilson")
    assert wilson(12, 40, z=1.6448536269514722) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(-1, 3), (4, 3), (0, -1)])
def test_refuses_impossible_counts(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(correct, total)


@pytest.mark.parametrize(
    ("a", "b"), [((12, 40), (30, 55)), ((0, 10), (10, 10)), ((3, 7), (3, 7)), ((80, 101), (77, 90))]
)
def test_difference_equals_statsmodels(a: tuple[int, int], b: tuple[int, int]) -> None:
    expected = confint_proportions_2indep(*b, *a, method="newcomb", compare="diff")
    assert difference(*a, *b) == pytest.approx(expected, abs=1e-12)


def test_difference_of_nothing_is_unknown() -> None:
    assert difference(0, 0, 3, 4) == (-1.0, 1.0)


def score_of(gained: int, lost: int, total: int, delta: float) -> float:
    """The score statistic with its variance found by maximising the likelihood numerically."""
    both = total - gained - lost

    def minus_log_likelihood(q: float) -> float:
        cells = [(gained, q + delta), (lost, q), (both, 1 - 2 * q - delta)]
        return -sum(n * np.log(p) for n, p in cells if n)

    low, high = max(0.0, -delta), (1 - delta) / 2
    best = minimize_scalar(
        minus_log_likelihood,
        bounds=(low + 1e-14, high - 1e-14),
        method="bounded",
        options={"xatol": 1e-13},
    )
    variance = total * (2 * best.x + delta - delta**2)
    return float((gained - lost - total * delta) / np.sqrt(variance))


@pytest.mark.parametrize(
    ("a_only", "b_only", "total"), [(4, 26, 80), (9, 3, 41), (1, 2, 12), (86, 150, 1600)]
)
def test_paired_difference_inverts_the_score_test(a_only: int, b_only: int, total: int) -> None:
    found = (b_only - a_only) / total
    low = brentq(lambda d: score_of(b_only, a_only, total, d) - Z_95, -0.9, found - 1e-9)
    high = brentq(lambda d: score_of(b_only, a_only, total, d) + Z_95, found + 1e-9, 0.9)
    assert paired_difference(a_only, b_only, total) == pytest.approx((low, high), abs=1e-6)


def test_paired_difference_at_the_ends_and_mirrored() -> None:
    low, high = paired_difference(0, 0, 50)
    # With no discordant pair the bounds are z^2 / (n + z^2).
    assert (low, high) == pytest.approx((-(Z_95**2) / (50 + Z_95**2), Z_95**2 / (50 + Z_95**2)))
    assert paired_difference(0, 10, 10)[1] == pytest.approx(1.0)
    low, high = paired_difference(7, 2, 30)
    assert paired_difference(2, 7, 30) == pytest.approx((-high, -low), abs=1e-12)


def test_paired_interval_agrees_with_mcnemar() -> None:
    """It leaves out 0 exactly where McNemar's chi-square without correction is significant."""
    for a_only in range(0, 12):
        for b_only in range(0, 25):
            low, high = paired_difference(a_only, b_only, 60)
            discordant = a_only + b_only
            significant = discordant > 0 and (a_only - b_only) ** 2 / discordant > Z_95**2
            assert (low > 0 or high < 0) == significant


@pytest.mark.parametrize(("a_only", "b_only", "total"), [(1, 1, 0), (-1, 0, 4), (3, 2, 4)])
def test_refuses_impossible_pairs(a_only: int, b_only: int, total: int) -> None:
    with pytest.raises(ValueError, match="no paired counts"):
        paired_difference(a_only, b_only, total)


def test_clustered_variance_equals_statsmodels() -> None:
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 6, 60)
    easy = rng.uniform(0.1, 0.9, 60)
    correct = rng.binomial(sizes, easy)
    rows = np.concatenate([[1] * c + [0] * (s - c) for c, s in zip(correct, sizes, strict=True)])
    groups = np.repeat(np.arange(60), sizes)
    fit = OLS(rows, np.ones(len(rows))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    share, low, high = clustered(correct.tolist(), sizes.tolist())
    assert share == pytest.approx(fit.params[0])
    effective = share * (1 - share) / fit.bse[0] ** 2
    # Wilson's interval solves |p - x| = z sqrt(x (1 - x) / n).
    for end in (low, high):
        assert abs(share - end) == pytest.approx(Z_95 * np.sqrt(end * (1 - end) / effective))


def test_clustered_rows_that_agree_count_once() -> None:
    share, low, high = clustered([4] * 30 + [0] * 10, [4] * 40)
    assert share == 0.75
    # The sandwich takes n - 1; Wilson's for 40 questions is a little narrower.
    expected = wilson(30, 40)
    assert (low, high) == pytest.approx(expected, abs=0.003)
    assert low < expected[0] < expected[1] < high
    assert clustered([5, 5], [5, 5]) == (1.0, *wilson(2, 2))
    assert clustered([1], [2])[1:] == pytest.approx(_one_row(0.5))


def _one_row(share: float) -> tuple[float, float]:
    half = Z_95 * np.sqrt(share * (1 - share) + Z_95**2 / 4) / (1 + Z_95**2)
    return 0.5 - half, 0.5 + half


@pytest.mark.parametrize(("correct", "total"), [([], []), ([1], [1, 2]), ([2], [1]), ([0], [0])])
def test_clustered_refuses_impossible_counts(correct: list[int], total: list[int]) -> None:
    with pytest.raises(ValueError, match="cluster"):
        clustered(correct, total)
