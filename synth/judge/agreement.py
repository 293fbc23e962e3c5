"""How far two judges agree: Cohen's kappa.

Cohen 1960, Educational and Psychological Measurement 20, 37; with quadratic weights (Cohen 1968,
Psychological Bulletin 70, 213) a 4 against a 5 counts as a sixteenth of a 1 against a 5. Kappa is 1
for full agreement and 0 for what chance would give with each judge's own habits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from core.errors import UsageError
from core.shards import shard_paths
from synth.judge.judged import Judged
from synth.judge.verdict import CRITERIA

Counts = npt.NDArray[np.int64]


def kappa(counts: Counts, quadratic: bool = False) -> float | None:
    """Returns Cohen's kappa of a table of counts.

    Args:
        counts: (K, K), rows by the first judge's score, columns by the second's.
        quadratic: weigh a disagreement by the square of its distance instead of all alike.

    Returns:
        Kappa, or None where chance alone gives full agreement: each judge says one thing only.
    """
    total = int(counts.sum())
    if total == 0:
        return None
    places = np.arange(len(counts))
    distance = (places[:, None] - places[None, :]).astype(np.float64)
    cost = distance**2 if quadratic else (distance != 0).astype(np.float64)
    chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    expected = float((cost * chance).sum())
    return None if expected == 0 else 1.0 - float((cost * counts).sum()) / expected


@dataclass(frozen=True)
class Agreement:
    """Two judges on one thing.

    Args:
        name: a criterion, or ``kept``.
        labels: what the rows and columns of ``counts`` stand for.
        counts: (K, K), rows by the first judge, columns by the second.
    """

    name: str
    labels: Sequence[str]
    counts: Counts

    @property
    def pairs(self) -> int:
        """Pairs that both judged."""
        return int(self.counts.sum())

    @property
    def same(self) -> int:
        """Pairs that both judged alike."""
        return int(np.trace(self.counts))

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa."""
        return kappa(self.counts)

    @property
    def weighted_kappa(self) -> float | None:
        """Cohen's kappa with quadratic weights."""
        return kappa(self.counts, quadratic=True)


def confusion(rows: Sequence[int], columns: Sequence[int], size: int) -> Counts:
    """Returns the table of counts of two lists of places from 0 to ``size - 1``."""
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (np.asarray(rows, dtype=int), np.asarray(columns, dtype=int)), 1)
    return counts


def agreement(first: Judged, second: Judged) -> list[Agreement]:
    """Compares two judged folders pair by pair, matched by ``qa_id``.

    Returns:
        One for every criterion that both score on the same scale, then one for what they keep.

    Raises:
        UsageError: they have no pair in common.
    """
    joined = _scan(first).join(_scan(second), on="qa_id", how="inner", suffix="_2")
    found = []
    for name in CRITERIA if first.scale == second.scale else ():
        both = joined.select(pl.col(name).alias("a"), pl.col(f"{name}_2").alias("b")).drop_nulls()
        counts = _count(both, first.scale, offset=1)
        if counts.any():
            labels = [str(score) for score in range(1, first.scale + 1)]
            found.append(Agreement(name, labels, counts))
    kept = joined.select(
        pl.col("kept").cast(pl.Int64).alias("a"), pl.col("kept_2").cast(pl.Int64).alias("b")
    )
    found.append(Agreement("kept", ["dropped", "kept"], _count(kept, 2, offset=0)))
    if not found[-1].pairs:
        raise UsageError(
            "the two folders have no pair in common",
            where=f"{first.folder} and {second.folder}",
            remedy="judge the same pairs twice: the recipe's key synth.judge.second, or two runs "
            "over one synth.qa",
        )
    return found


def agreement_record(found: Sequence[Agreement]) -> dict[str, Mapping[str, object]]:
    """Returns agreements as JSON values."""
    return {
        one.name: {
            "pairs": one.pairs,
            "same": one.same,
            "kappa": one.kappa,
            "weighted_kappa": one.weighted_kappa,
            "labels": list(one.labels),
            "counts": one.counts.tolist(),
        }
        for one in found
    }


def _scan(judged: Judged) -> pl.LazyFrame:
    paths: list[Path] = shard_paths(judged.folder)
    frame = pl.scan_parquet(paths, glob=False)
    return frame.select("qa_id", *CRITERIA, judged.kept_expression().alias("kept"))


def _count(both: pl.LazyFrame, size: int, offset: int) -> Counts:
    counts = np.zeros((size, size), dtype=np.int64)
    grouped = both.group_by("a", "b").agg(pl.len().alias("n")).collect(engine="streaming")
    for a, b, n in grouped.iter_rows():
        counts[a - offset, b - offset] = n
    return counts
