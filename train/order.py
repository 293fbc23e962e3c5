r"""The seeded global order of sequences: which ones make which optimizer step.

::

    epoch 0 permutation      epoch 1 permutation      (fraction of) epoch 2
    [s7 s2 s9 s4 s0 ...     ][s3 s8 s1 ...           ][s5 s6]  . .
     \___global batch 1__/\__global batch 2__/  ...            padding: no loss

With replay, an epoch is the corpus and the general text that is for this epoch alone, mixed: its
permutation is longer by that many sequences. A last epoch that is a fraction has the beginning of
the corpus's permutation, just as without replay, and all of its own general text, which is less.

Epochs follow each other without a gap, so a global batch may hold the end of one and the start of
the next and no sequence is dropped. Only the very last global batch is filled up, with sequences
that carry no loss: because the loss is divided by the trained tokens of the global batch, they
change nothing. The order depends on the seed alone, never on the number of workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

PADDING = -1
"""Stands for a sequence without loss in an order of sequences."""

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SequenceOrder:
    """Which sequences make which optimizer step.

    Args:
        sequences: of the corpus.
        epochs: passes over the corpus; a fraction is allowed.
        global_batch: sequences per step over all workers.
        seed: of the permutations.
        replay: sequences of general text for each epoch; empty: none. They follow the corpus's
            in the dataset, epoch by epoch.
    """

    sequences: int
    epochs: float
    global_batch: int
    seed: int
    replay: tuple[int, ...] = ()

    @cached_property
    def _corpus(self) -> list[int]:
        """Sequences of the corpus in each epoch; in the last one perhaps not all."""
        # 0.1 * 30 is 3.0000000000000004: the tolerance keeps that at 3.
        samples = max(1, math.ceil(self.epochs * self.sequences - 1e-6))
        whole, rest = divmod(samples, self.sequences)
        return [self.sequences] * whole + [rest] * (rest > 0)

    @cached_property
    def _ends(self) -> IndexArray:
        """Samples up to the end of each epoch."""
        replay = self.replay[: len(self._corpus)] or (0,) * len(self._corpus)
        sizes = [c + r for c, r in zip(self._corpus, replay, strict=True)]
        return np.cumsum(np.asarray(sizes, dtype=np.int64))

    @property
    def samples(self) -> int:
        """Sequences trained on, repeats counted: ``ceil(epochs * sequences)`` and the replay."""
        return int(self._ends[-1])

    @property
    def started(self) -> int:
        """Epochs that are begun: 3 of 2.5."""
        return len(self._corpus)

    @property
    def replay_samples(self) -> int:
        """Sequences of general text among them."""
        return self.samples - sum(self._corpus)

    @property
    def distinct(self) -> int:
        """Sequences trained on at least once."""
        return self._corpus[0] + self.replay_samples

    @property
    def steps(self) -> int:
        """Optimizer steps: ``ceil(samples / global_batch)``."""
        return -(-self.samples // self.global_batch)

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps of a whole epoch; with replay, the mean over the epochs."""
        return (self.samples / self.epochs if self.replay else self.sequences) / self.global_batch

    @property
    def padding(self) -> int:
        """Sequences without loss that fill the last global batch."""
        return self.steps * self.global_batch - self.samples

    def step(self, step: int) -> IndexArray:
        """Returns the sequences of a step, :data:`PADDING` after the end; shape (global_batch,).

        Args:
            step: 1 for the first.
        """
        first = (step - 1) * self.global_batch
        positions = np.arange(first, first + self.global_batch)
        indices = np.full(self.global_batch, PADDING, dtype=np.int64)
        epoch_of = np.searchsorted(self._ends, positions, side="right")
        for epoch in np.unique(epoch_of[positions < self.samples]).tolist():
            inside = epoch_of == epoch
            indices[inside] = self._epoch(epoch)[positions[inside] - self._start(epoch)]
        return indices

    def epoch(self, step: int) -> float:
        """Returns the epochs finished after a step, as passes over the corpus."""
        position = min(step * self.global_batch, self.samples)
        epoch = int(np.searchsorted(self._ends[:-1], position, side="right"))
        inside, size = position - self._start(epoch), int(self._ends[epoch]) - self._start(epoch)
        passed = epoch * self.sequences + inside * self._corpus[epoch] / size
        return passed / self.sequences

    def cursor(self, step: int) -> tuple[int, int]:
        """Returns the epoch that is under way after a step and its sequences that are done."""
        position = min(step * self.global_batch, self.samples)
        epoch = int(np.searchsorted(self._ends, position, side="right"))
        return epoch, position - self._start(epoch)

    def _start(self, epoch: int) -> int:
        return int(self._ends[epoch - 1]) if epoch else 0

    def _epoch(self, epoch: int) -> IndexArray:
        replay = self.replay[epoch] if self.replay else 0
        start = self.sequences + sum(self.replay[:epoch])
        return epoch_order(
            self.sequences, self.seed, epoch, self._corpus[epoch], (start, start + replay)
        )


@lru_cache(maxsize=2)
def epoch_order(
    sequences: int, seed: int, epoch: int, first: int, replay: tuple[int, int]
) -> IndexArray:
    """Returns the sequences of an epoch in order (read only).

    Args:
        sequences: of the corpus.
        seed: with the epoch, of PCG64.
        epoch: 0 for the first.
        first: how many of the corpus's permutation are in the epoch.
        replay: first and end of the other sequences that are.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(sequences).astype(np.int64)[:first]
    if replay[0] < replay[1]:
        order = generator.permutation(np.concatenate([order, np.arange(*replay)]))
    order.setflags(write=False)
    return order
