"""Estimates of a whole from a sample of its units, with intervals.

The units of a source stage are in strata (one per shard of the catalog: a source, or a stretch of
one). In every stratum some are drawn without replacement. A total is the ratio estimate: what the
drawn units gave, times the entries of the stratum over the entries of the drawn (Cochran, "Sampling
Techniques", section 6.11, separate ratio estimate).

The interval is the middle 95% of a bootstrap: units are drawn again within each stratum, n - 1 out
of n with their weights rescaled, so that a stratum read whole adds no spread (Rao and Wu 1988,
"Resampling inference with complex survey data", section 2, with the finite population correction).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPLICATES = 400
LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A predicted number and its bounds.

    Args:
        value: the estimate.
        low: lower bound of the interval.
        high: upper bound.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Interval:
        """Returns a number without spread."""
        return cls(value, value, value)

    def around(self, low: float, high: float) -> Interval:
        """Returns the interval made as wide as another one at least."""
        return Interval(self.value, min(self.low, low), max(self.high, high))

    @classmethod
    def of(cls, row: Floats) -> Interval:
        """Returns the interval of an estimate (first) and its replicates (the rest)."""
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(row[1:], [tail, 1 - tail])
        value = float(row[0])
        return cls(value, min(float(low), value), max(float(high), value))


@dataclass(frozen=True)
class Frame:
    """The units of a source stage, and which were drawn.

    Args:
        strata: of every drawn unit, its stratum.
        sizes: of every drawn unit, its entries.
        whole_sizes: entries of each stratum.
        whole_units: units of each stratum.
    """

    strata: tuple[str, ...]
    sizes: tuple[float, ...]
    whole_sizes: dict[str, float]
    whole_units: dict[str, int]

    def weights(self, seed: int) -> Floats:
        """Returns what a drawn unit stands for, (1 + :data:`REPLICATES`, units).

        The first row is the estimate, the others are the bootstrap's.
        """
        rng = np.random.default_rng(seed)
        strata = np.array(self.strata, dtype=object)
        sizes = np.array(self.sizes, dtype=np.float64)
        weights = np.zeros((1 + REPLICATES, len(sizes)))
        for name in sorted(set(self.strata)):
            members = np.flatnonzero(strata == name)
            count, whole = len(members), self.whole_units[name]
            drawn = np.ones((1 + REPLICATES, count))
            if 1 < count < whole:
                again = rng.multinomial(count - 1, np.full(count, 1 / count), size=REPLICATES)
                spread = np.sqrt(1 - count / whole)
                drawn[1:] = 1 - spread + spread * again * (count / (count - 1))
            held = drawn @ sizes[members]
            weights[:, members] = drawn * (self.whole_sizes[name] / held)[:, None]
        return weights


def total(weights: Floats, values: Sequence[float]) -> Floats:
    """Returns the total of a quantity: the estimate, then its replicates.

    Args:
        weights: of :meth:`Frame.weights`.
        values: one per drawn unit.
    """
    return np.asarray(weights @ np.array(values, dtype=np.float64))
