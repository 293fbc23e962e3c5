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


def test_the_schedule_of_astrosage_70b() -> None:
    """2.5 epochs of 400 steps: warmup over 60, constant to 800, a cosine to 1,000."""
    schedule = Schedule(kind="cosine", warmup_epochs=0.15, decay_epochs=0.5, final_fraction=0.0)

    def rate(step: int) -> float:
        return learning_rate(step, 1000, PEAK, schedule, steps_per_epoch=400)

    assert rate(30) == pytest.approx(PEAK / 4)
    assert [rate(step) for step in (60, 61, 500, 800)] == [PEAK] * 4
    assert rate(801) < PEAK
    assert rate(900) == pytest.approx(PEAK / 2)
    assert rate(1000) == pytest.approx(0.0, abs=1e-20)


def test_a_decay_longer_than_the_run_starts_after_the_warmup() -> None:
    schedule = Schedule(kind="cosine", warmup_steps=10, decay_epochs=5.0)
    plain = Schedule(kind="cosine", warmup_steps=10)
    for step in (1, 9, 10, 11, 50, 100):
        expected = learning_rate(step, 100, PEAK, plain)
        assert learning_rate(step, 100, PEAK, schedule, steps_per_epoch=100) == expected


def test_linear_warmup_on_request() -> None:
    schedule = Schedule(warmup_steps=4, warmup_power=1.0)
    assert learning_rate(1, 10, PEAK, schedule) == pytest.approx(PEAK / 4)


def test_a_schedule_in_epochs_needs_their_length() -> None:
    with pytest.raises(ValueError, match="steps of an epoch"):
        learning_rate(1, 10, PEAK, Schedule(warmup_epochs=0.5))
