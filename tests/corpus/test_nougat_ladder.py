from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from corpus.nougat.images import PagePixels
from corpus.nougat.ladder import Ladder, PageReading
from corpus.nougat.model import Attempt, Ending

FINISHED, LOOPED = Ending.FINISHED, Ending.LOOPED


class Script:
    """A model whose answers are written down: per page, how each reading ends."""

    def __init__(self, endings: dict[int, list[tuple[Ending, str]]]) -> None:
        self.endings = endings
        self.batches: list[tuple[float, list[int]]] = []
        self.seeds: dict[tuple[int, float], int] = {}

    def read(
        self, pages: Sequence[PagePixels], temperature: float, seeds: Sequence[int]
    ) -> list[Attempt]:
        numbers = [int(page.values[0]) for page in pages]
        self.batches.append((temperature, numbers))
        attempts = []
        for number, seed in zip(numbers, seeds, strict=True):
            self.seeds[number, temperature] = seed
            ending, text = self.endings.get(number, [(FINISHED, f"page {number}")]).pop(0)
            attempts.append(Attempt(text, 0.9, 5, ending))
        return attempts


def _pixels(number: int) -> PagePixels:
    return PagePixels(np.array([number], np.float32), bytes([number]))


def _climb(
    script: Script, count: int, temperatures: list[float], batch_pages: int, seed: int = 1
) -> dict[int, PageReading]:
    results: dict[int, PageReading] = {}

    def done(key: tuple[int, int], reading: PageReading) -> None:
        assert key[1] not in results
        results[key[1]] = reading

    ladder = Ladder(script.read, temperatures, batch_pages, seed, done)
    for number in range(count):
        ladder.add((0, number), _pixels(number))
    ladder.flush()
    assert sorted(results) == list(range(count))
    return results


def test_pages_that_loop_are_read_again_warmer_and_in_common_batches() -> None:
    script = Script(
        {
            1: [(LOOPED, "x"), (FINISHED, "second")],
            4: [(LOOPED, "xxx"), (Ending.TRUNCATED, "longest"), (LOOPED, "y")],
            5: [(Ending.MISSING, ""), (LOOPED, "z"), (FINISHED, "third")],
        }
    )
    results = _climb(script, 7, [0.2, 0.5], batch_pages=3)
    assert script.batches == [
        (0.0, [0, 1, 2]),
        (0.0, [3, 4, 5]),
        (0.2, [1, 4, 5]),
        (0.0, [6]),
        (0.5, [4, 5]),
    ]
    assert results[0] == PageReading(Attempt("page 0", 0.9, 5, FINISHED), 0)
    assert (results[1].attempt.text, results[1].retries, results[1].clean) == ("second", 1, True)
    assert (results[5].attempt.text, results[5].retries, results[5].clean) == ("third", 2, True)
    # None of its readings finished: the one with most text is kept for a person to look at.
    assert (results[4].attempt.text, results[4].retries, results[4].clean) == ("longest", 2, False)


def test_without_temperatures_nothing_is_read_again() -> None:
    script = Script({0: [(LOOPED, "x")]})
    results = _climb(script, 1, [], batch_pages=8)
    assert (results[0].retries, results[0].clean) == (0, False)


@pytest.mark.parametrize("batch_pages", [1, 2, 8])
def test_seeds_follow_from_the_page_the_rung_and_the_recipe(batch_pages: int) -> None:
    def seeds(seed: int) -> dict[tuple[int, float], int]:
        script = Script({n: [(LOOPED, "")] * 3 for n in range(4)})
        _climb(script, 4, [0.2, 0.5], batch_pages, seed)
        return script.seeds

    first = seeds(1)
    assert len(set(first.values())) == 12
    alone = Script({2: [(LOOPED, "")] * 3})
    results: list[PageReading] = []
    ladder = Ladder(alone.read, [0.2, 0.5], 8, 1, lambda key, reading: results.append(reading))
    ladder.add((7, 9), _pixels(2))
    ladder.flush()
    assert alone.seeds == {key: value for key, value in first.items() if key[0] == 2}
    assert not set(seeds(2).values()) & set(first.values())
