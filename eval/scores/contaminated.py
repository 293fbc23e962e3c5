"""Scores with and without the questions that the corpus held.

``corpus.contamination_report`` lists the questions found in the documents *before* decontamination
cut them. A model trained on what is left has not read them there, yet they may be easier (known
from elsewhere, or told in other words), so accuracy is given for those found and those not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from core.intervals import difference
from core.recipe.eval import Benchmark
from eval.scores.accuracy import share


def flag_counts(
    benchmarks: Sequence[Benchmark], items: pl.DataFrame, found: Mapping[str, set[str]]
) -> list[dict[str, Any]]:
    """Returns of each benchmark how many questions are flagged.

    ``known`` is False where the report does not have the benchmark; ``unmatched`` counts ids that
    the report has and the benchmark's questions have not (records that are no question).
    """
    entries = []
    for benchmark in benchmarks:
        mine = items.filter(pl.col("benchmark") == benchmark.name)
        held = found.get(benchmark.name, set())
        flagged = int(mine["contaminated"].sum())
        entries.append(
            {
                "name": benchmark.name,
                "group": benchmark.group,
                "known": benchmark.name in found,
                "items": len(mine),
                "flagged": flagged,
                "unmatched": len(held) - flagged,
            }
        )
    return entries


def with_and_without(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Returns accuracy over all keyed rows, those not flagged and those flagged.

    Args:
        rows: a label's rows in file order, of one group.

    Returns:
        ``all``, ``clean``, ``flagged`` and the ``difference`` flagged - clean with its interval
        (None where either is empty); None where no keyed row's benchmark is in the report.
    """
    keyed = rows.filter(pl.col("correct").is_not_null() & pl.col("contaminated").is_not_null())
    if not len(keyed):
        return None
    flagged = keyed.filter(pl.col("contaminated"))
    hits = int(flagged["correct"].sum()), len(flagged)
    every = int(keyed["correct"].sum()), len(keyed)
    rest = every[0] - hits[0], every[1] - hits[1]
    entry: dict[str, Any] = {
        "all": share(*every),
        "clean": share(*rest),
        "flagged": share(*hits),
        "difference": None,
        "low": None,
        "high": None,
    }
    if rest[1] and hits[1]:
        low, high = difference(*rest, *hits)
        entry["difference"] = hits[0] / hits[1] - rest[0] / rest[1]
        entry |= {"low": low, "high": high}
    return entry
