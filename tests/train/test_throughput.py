from __future__ import annotations

import time

import pytest

from train.throughput import Rates, Waiting


def test_rates_by_hand() -> None:
    """1,000 tokens of 10 MFLOP in half a second on 2 workers: 0.01 TFLOP/s each, of 0.1."""
    rates = Rates(1000, 1e7, workers=2, peak_tflop_per_s=0.1)
    speed = rates.speed(step=3, seconds=0.5, data_wait_seconds=0.1, trained_tokens=250)
    assert speed.tokens_per_s == 2000
    assert speed.tflop_per_s == pytest.approx(0.01)
    assert speed.mfu == pytest.approx(0.1)
    assert speed.trained_share == 0.25
    assert speed.memory_bytes > 10**7


def test_without_a_peak_there_is_no_utilisation() -> None:
    assert Rates(1000, 1e7, 2, None).speed(1, 0.0, 0.0, 0).mfu is None


def test_waiting_adds_up_and_starts_again() -> None:
    waiting, began = Waiting(), time.perf_counter()
    for _ in range(2):
        with waiting:
            time.sleep(0.01)
    assert 0.02 <= waiting.take() <= time.perf_counter() - began
    assert waiting.take() == 0.0
