from __future__ import annotations

import pytest

from core.recipe.train import Schedule
from train.schedule import learning_rate

PEAK = 2e-4


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, PEAK / 16), (2, PEAK / 4), (3, PEAK * 9 / 16), (4, PEAK), (5, PEAK), (100, PEAK)],
)
def test_constant_after_quadratic_warmup(step: int, expected: float) -> None:
    schedule = Schedule(kind="constant", warmup_steps=4)
    assert learning_rate(step, 100, PEAK, schedule) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (5, 0.25),  # warmup: (5 / 10)^2
        (10, 1.0),  # the peak
        (35, 0.1 + 0.9 * (1 + 2**-0.5) / 2),  # a quarter of the way: cos 45 degrees
        (60, 0.55),  # half way
        (110, 0.1),  # AstroMLab 3, Figure 2: the end is 10% of the peak
    ],
)
def test_cosine_ends_at_a_tenth(step: int, share: float) -> None:
    schedule = Schedule(kind="cosine", warmup_steps=10, final_fraction=0.1)
    assert learning_rate(step, 110, PEAK, schedule) == pytest.approx(PEAK * share, rel=1e-12)


def test_without_warmup_the_first_step_is_the_peak() -> None:
    schedule = Schedule(kind="cosine", final_fraction=0.0)
    assert learning_rate(1, 11, PEAK, schedule) == PEAK
    assert learning_rate(6, 11, PEAK, schedule) == pytest.approx(PEAK / 2)
    assert learning_rate(11, 11, PEAK, schedule) == pytest.approx(0.0)


def test_runs_shorter_than_the_warmup() -> None:
    schedule = Schedule(kind="cosine", warmup_steps=10)
    assert learning_rate(3, 3, PEAK, schedule) == pytest.approx(PEAK * 0.09)
    assert learning_rate(10, 10, PEAK, schedule) == PEAK
    assert learning_rate(1, 1, PEAK, Schedule(kind="cosine")) == PEAK
