"""Accuracy with its 95% Wilson interval and what guessing would give.

A question without a readable answer counts as wrong: else a model that falls silent where it does
not know would look better than one that tries. How many those are stands beside every accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

import polars as pl

from core.intervals import wilson
from eval.answers import TRUNCATED

COUNTS = ("correct", "total", "asked", "unanswered", "truncated")


def share(correct: int, total: int) -> dict[str, Any]:
    """Returns ``correct``, ``total``, ``accuracy`` (None where total is 0), ``low``, ``high``."""
    low, high = wilson(correct, total)
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total if total else None,
        "low": low,
        "high": high,
    }


def accuracy(counts: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """Adds up the counts of :func:`count_rows` that belong together.

    Returns:
        :func:`share` over items with a key; ``chance``, the expected accuracy of guessing;
        ``asked`` (items with and without key), ``unanswered`` of them, ``truncated`` of those.
    """
    summed = {name: sum(row[name] for row in counts) for name in COUNTS}
    total = summed["total"]
    # fsum: the same to the last bit in whatever order the counts come.
    chance = fsum(row["total"] / row["choices"] for row in counts if row["total"])
    return {
        **share(summed["correct"], total),
        "chance": chance / total if total else None,
        **{name: summed[name] for name in COUNTS[2:]},
    }


def count_rows(first: pl.DataFrame) -> list[dict[str, Any]]:
    """Counts a label's rows in file order.

    Returns:
        One entry per benchmark, group, topic and number of choices, sorted, with :data:`COUNTS`.
    """
    keys = ["benchmark", "group", "topic", "choices"]
    unread = pl.col("choice").is_null()
    counted = first.group_by(keys).agg(
        pl.col("correct").sum().cast(pl.Int64),
        pl.col("correct").count().cast(pl.Int64).alias("total"),
        pl.len().cast(pl.Int64).alias("asked"),
        unread.sum().cast(pl.Int64).alias("unanswered"),
        (unread & (pl.col("read_by") == TRUNCATED)).sum().cast(pl.Int64).alias("truncated"),
    )
    return counted.sort(keys).to_dicts()
