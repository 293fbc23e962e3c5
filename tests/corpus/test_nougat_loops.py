from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import pytest

from corpus.nougat.loops import (
    COPIES,
    MIN_REPEATED_TOKENS,
    STEADY_TOKENS,
    VARIANCE_WINDOW,
    VARIANCES,
    SteadyLogits,
    TokenLoops,
)


def _first_loop(tokens: Iterable[int]) -> tuple[int, int] | None:
    """(tokens taken when a loop was seen, tokens to keep)."""
    tokens = list(tokens)
    detector = TokenLoops(len(tokens))
    for number, token in enumerate(tokens, 1):
        keep = detector.push(token)
        if keep is not None:
            return number, keep
    return None


@pytest.mark.parametrize("period", [1, 2, 7, 39, 40, 41, 100, 512])
def test_a_loop_is_seen_as_soon_as_it_is_long_enough(period: int) -> None:
    prose = list(np.random.default_rng(period).permutation(np.arange(1000, 1300)))
    loop = list(range(period)) * 400
    repeated = max((COPIES - 1) * period, MIN_REPEATED_TOKENS)
    assert _first_loop(prose + loop) == (300 + period + repeated, 300 + period)


@pytest.mark.parametrize(
    "tokens",
    [
        range(4000),
        [*range(513)] * 7,
        # A table of zeros, eight rows of twelve; a row of dots; three copies of a long paragraph.
        [*([0, 1] * 6), 2] * 8,
        [*range(10), *[5] * 100, *range(10)],
        [*range(200)] * 3,
    ],
    ids=["no repetition", "too long a period", "matrix", "dots", "three copies"],
)
def test_what_papers_repeat_is_no_loop(tokens: Iterable[int]) -> None:
    assert _first_loop(tokens) is None


def test_a_loop_that_ends_in_time_is_no_loop() -> None:
    tokens = [*range(100), *[7] * (MIN_REPEATED_TOKENS), *range(200, 300)]
    assert _first_loop(tokens) is None


def test_cost_grows_with_the_length_and_not_its_square() -> None:
    def seconds(count: int) -> float:
        tokens = np.random.default_rng(1).integers(0, 50_000, count).tolist()
        started = time.process_time()
        _first_loop(tokens)
        return time.process_time() - started

    seconds(1000)
    assert seconds(40_000) < 10 * max(seconds(10_000), 0.01)


def _varvar(logits: np.ndarray) -> np.ndarray:
    """Nougat's number as its authors compute it, from slices."""
    variances = np.array(
        [
            np.var(logits[i : i + VARIANCE_WINDOW], ddof=1) / VARIANCE_WINDOW
            for i in range(len(logits) - VARIANCE_WINDOW + 1)
        ]
    )
    return np.array(
        [
            np.var(variances[i : i + VARIANCES], ddof=1)
            for i in range(len(variances) - VARIANCES + 1)
        ]
    )


def test_steady_logits_are_the_papers_test() -> None:
    rng = np.random.default_rng(0)
    # Prose, whose largest logits jump; then a loop, whose logits come back every 20 tokens.
    prose = rng.normal(20, 6, 700)
    loop = np.tile(rng.normal(24, 0.4, 20), 40)
    logits = np.concatenate([prose, loop])
    below = _varvar(logits) < 0.015
    first = int(np.argmax(below)) + VARIANCE_WINDOW + VARIANCES - 1
    assert not below[: 700 - VARIANCES].any()
    assert below[np.argmax(below) :].all()

    detector = SteadyLogits()
    seen = [detector.push(float(logit)) for logit in logits]
    hit = next(n for n, keep in enumerate(seen, 1) if keep is not None)
    assert hit == first + STEADY_TOKENS - 1
    keep = seen[hit - 1]
    assert keep is not None
    assert 700 - 2 * VARIANCE_WINDOW <= keep <= 700 + 2 * VARIANCE_WINDOW


def test_logits_of_prose_are_not_steady() -> None:
    detector = SteadyLogits()
    logits = np.random.default_rng(0).normal(20, 6, 3000)
    assert all(detector.push(float(logit)) is None for logit in logits)
