"""A page that loops is read again, by sampling and warmer each time.

Pages wait in one queue per rung until there is a full batch, so that the few that are read again
share batches too. Which pages meet in a batch follows from their order alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corpus.nougat.images import PagePixels
from corpus.nougat.model import Attempt, Ending

Read = Callable[[Sequence[PagePixels], float, Sequence[int]], list[Attempt]]
"""(pages, temperature, seeds) to one attempt per page; temperature 0 is greedy."""


@dataclass(frozen=True)
class PageReading:
    """What became of a page.

    Args:
        attempt: the first that finished, or of those that did not the one with most text.
        retries: how often it was read again.
    """

    attempt: Attempt
    retries: int

    @property
    def clean(self) -> bool:
        """Whether the page was read to its end."""
        return self.attempt.ending is Ending.FINISHED


class Ladder:
    """Batches of pages, read and read again.

    Args:
        read: the model.
        temperatures: of the second reading, the third, ...
        batch_pages: pages read at once.
        seed: the recipe's.
        done: told of every page that was added, by its key.
    """

    def __init__(
        self,
        read: Read,
        temperatures: Sequence[float],
        batch_pages: int,
        seed: int,
        done: Callable[[tuple[int, int], PageReading], None],
    ) -> None:
        self._read = read
        self._temperatures = [0.0, *temperatures]
        self._batch_pages = batch_pages
        self._seed = seed
        self._done = done
        self._rungs: list[list[tuple[tuple[int, int], PagePixels, Attempt | None]]]
        self._rungs = [[] for _ in self._temperatures]

    def add(self, key: tuple[int, int], pixels: PagePixels) -> None:
        """Takes a page; a batch that is full is read at once."""
        self._push(0, key, pixels, None)

    def flush(self) -> None:
        """Reads what still waits."""
        for rung in range(len(self._rungs)):
            while self._rungs[rung]:
                self._read_rung(rung)

    def _push(
        self, rung: int, key: tuple[int, int], pixels: PagePixels, best: Attempt | None
    ) -> None:
        self._rungs[rung].append((key, pixels, best))
        if len(self._rungs[rung]) >= self._batch_pages:
            self._read_rung(rung)

    def _read_rung(self, rung: int) -> None:
        batch = self._rungs[rung]
        self._rungs[rung] = []
        seeds = [self._seed_of(pixels, rung) for _, pixels, _ in batch]
        attempts = self._read([p for _, p, _ in batch], self._temperatures[rung], seeds)
        for (key, pixels, best), attempt in zip(batch, attempts, strict=True):
            if attempt.ending is Ending.FINISHED:
                self._done(key, PageReading(attempt, rung))
                continue
            if best is None or len(attempt.text) > len(best.text):
                best = attempt
            if rung + 1 < len(self._rungs):
                self._push(rung + 1, key, pixels, best)
            else:
                self._done(key, PageReading(best, rung))

    def _seed_of(self, pixels: PagePixels, rung: int) -> int:
        text = f"{self._seed}:{rung}:".encode() + pixels.digest
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
