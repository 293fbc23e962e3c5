"""``answers.parquet`` of a finished run, to compare any of its rows on any of its questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.errors import InputError, UsageError
from eval.scores.content import GROUPS
from eval.scores.paired import Marks, compare_pairs, marks, with_holm
from eval.scores.submission import ANSWERS_NAME


@dataclass(frozen=True)
class Answered:
    """A run's answers.

    Args:
        items: ``place, benchmark, item_id, group, topic`` of every question that was asked.
        marks: label to its marks, in the tables' order.
        names: label to ``(model, mode)``.
    """

    items: pl.DataFrame
    marks: dict[str, Marks]
    names: dict[str, tuple[str, str | None]]

    def label(self, given: str) -> str:
        """Returns the label that a person means: ``merged``, ``merged:reasoning`` or as it stands.

        Raises:
            UsageError: there is none, or a model has several modes.
        """
        if given in self.marks:
            return given
        model, _, mode = given.partition(":")
        found = [
            name
            for name, known in self.names.items()
            if known[0] == model and (not mode or known[1] == mode)
        ]
        if len(found) == 1:
            return found[0]
        known = [f"{model}:{mode}" if mode else model for model, mode in self.names.values()]
        raise UsageError(
            f"'{given}' was asked in {len(found)} modes" if found else f"no answers of '{given}'",
            where="command line",
            remedy=f"name one of {', '.join(known)}",
        )

    def by_group(self, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Returns the comparison of every pair in every group, Holm's p-values by group."""
        groups = self.items["group"].to_numpy()
        return [
            {"group": group} | entry
            for group in GROUPS
            for entry in compare_pairs(self.marks, groups == group, pairs)
        ]

    def by_topic(self, a: str, b: str) -> list[dict[str, Any]]:
        """Returns the comparison of one pair in every topic, Holm's p-values over all topics."""
        entries = []
        known = self.items.filter(pl.col("topic").is_not_null())
        for group, topic in sorted(known.select("group", "topic").unique().rows()):
            here = (pl.col("group") == group) & (pl.col("topic") == topic)
            inside = np.zeros(len(self.items), dtype=np.bool_)
            inside[known.filter(here)["place"].to_numpy()] = True
            for entry in compare_pairs(self.marks, inside, [(a, b)]):
                entries.append({"group": group, "topic": topic} | entry)
        return with_holm(entries)


def read_answered(folder: Path) -> Answered:
    """Reads the answers in a folder of ``eval.scores``.

    Raises:
        InputError: the stage has not run.
    """
    path = folder / ANSWERS_NAME
    if not path.exists():
        raise InputError(
            "there are no scores yet",
            where=str(folder),
            remedy="run: astromill eval scores RECIPE",
        )
    keys = ["benchmark", "item_id"]
    answers = pl.read_parquet(
        path, columns=[*keys, "group", "topic", "name", "model", "mode", "correct"]
    )
    items = answers.select(*keys, "group", "topic").unique(maintain_order=True)
    items = items.with_row_index("place")
    labels = answers.select("name", "model", "mode").unique(maintain_order=True).rows()
    found: dict[str, Marks] = {}
    for name, _, _ in labels:
        mine = answers.filter(pl.col("name") == name).select(*keys, "correct")
        found[name] = marks(mine.join(items.select(*keys, "place"), on=keys), len(items))
    return Answered(items, found, {name: (model, mode) for name, model, mode in labels})
