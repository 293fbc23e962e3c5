from __future__ import annotations

import numpy as np
import pytest

from core.plan.frames import REPLICATES, Frame, Interval, total


def frame(strata: list[str], sizes: list[float], whole: dict[str, tuple[float, int]]) -> Frame:
    return Frame(
        tuple(strata),
        tuple(sizes),
        {name: size for name, (size, _) in whole.items()},
        {name: count for name, (_, count) in whole.items()},
    )


def test_a_total_by_hand() -> None:
    """Two of four units of "a" hold 5 of its 9 entries; "b" is read whole."""
    drawn = frame(["a", "a", "b"], [2, 3, 4], {"a": (9, 4), "b": (4, 1)})
    found = total(drawn.weights(seed=1), [20, 30, 100])
    assert found[0] == pytest.approx(50 * 9 / 5 + 100)


def test_a_ratio_that_is_the_same_everywhere_has_no_spread() -> None:
    drawn = frame(["a"] * 3, [1, 2, 3], {"a": (60, 30)})
    interval = Interval.of(total(drawn.weights(seed=1), [10, 20, 30]))
    assert interval.low == pytest.approx(600)
    assert interval.high == pytest.approx(600)


def test_what_was_read_whole_has_no_spread() -> None:
    drawn = frame(["a"] * 3, [1, 1, 1], {"a": (3, 3)})
    assert Interval.of(total(drawn.weights(seed=1), [1, 5, 90])) == Interval.exact(96)


def test_a_smaller_share_has_more_spread_about_as_the_formula_says() -> None:
    """Variance of an expanded total: N^2 (1 - n/N) s^2 / n (Cochran, section 2.6)."""
    values = np.random.default_rng(3).normal(100, 20, size=40)
    spreads = []
    for whole in (80, 800):
        drawn = frame(["a"] * 40, [1.0] * 40, {"a": (whole, whole)})
        replicates = total(drawn.weights(seed=2), list(values))[1:]
        expected = whole * np.sqrt((1 - 40 / whole) * values.var(ddof=1) / 40)
        assert replicates.std() == pytest.approx(expected, rel=0.15)
        spreads.append(replicates.std() / whole)
    assert spreads[0] < spreads[1]


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    units = rng.lognormal(3, 0.5, size=200)
    held = 0
    for trial in range(100):
        chosen = rng.choice(units, size=50, replace=False)
        drawn = frame(["a"] * 50, [1.0] * 50, {"a": (200, 200)})
        interval = Interval.of(total(drawn.weights(seed=trial), list(chosen)))
        held += interval.low <= units.sum() <= interval.high
    assert 86 <= held <= 100


def test_the_same_seed_gives_the_same_weights() -> None:
    drawn = frame(["a"] * 4, [1, 2, 3, 4], {"a": (40, 16)})
    assert np.array_equal(drawn.weights(5), drawn.weights(5))
    assert drawn.weights(5).shape == (1 + REPLICATES, 4)
