from __future__ import annotations

import math
import random

import pytest

from train.spikes import SpikeDetector


def losses(steps: int, seed: int = 0) -> list[float]:
    """A falling loss that scatters by two per cent."""
    generator = random.Random(seed)
    return [(2 + 4 / (1 + step / 50)) * generator.gauss(1, 0.02) for step in range(steps)]


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_has_no_spike(seed: int) -> None:
    detector = SpikeDetector(6.0, 64)
    assert [s for s, loss in enumerate(losses(2000, seed)) if detector.deviations(loss)] == []


def test_spikes_are_found_and_do_not_hide_the_next_one() -> None:
    values = losses(400)
    for step in (200, 201, 202, 300):
        values[step] *= 1.5
    detector = SpikeDetector(6.0, 64)
    assert [s for s, loss in enumerate(values) if detector.deviations(loss)] == [200, 201, 202, 300]


def test_what_is_no_number_is_a_spike() -> None:
    detector = SpikeDetector(6.0, 16, [3.0] * 20)
    assert detector.deviations(math.inf) == math.inf
    assert math.isnan(detector.deviations(math.nan) or 0.0)
    assert detector.deviations(3.01) is None


def test_a_run_that_goes_on_judges_like_one_that_never_stopped() -> None:
    values = losses(300)
    values[250] *= 2
    whole, resumed = SpikeDetector(6.0, 64), SpikeDetector(6.0, 64, values[:200])
    for loss in values[:200]:
        whole.deviations(loss)
    assert [whole.deviations(v) for v in values[200:]] == [
        resumed.deviations(v) for v in values[200:]
    ]
