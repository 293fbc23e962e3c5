"""Wilson intervals against statsmodels."""

from __future__ import annotations

import pytest
from statsmodels.stats.proportion import proportion_confint

from core.intervals import wilson


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
