"""Predictions as columns: one model in one mode at a time, with what its questions are.

A *label* names a row of every table: a model, or ``merged · reasoning`` where a model was asked in
several modes. Predictions are read label by label, and the written texts only where they are shown,
so memory holds one label's numbers whatever the benchmarks and models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from core.errors import InputError
from core.recipe.eval import Benchmark
from core.schema import PREDICTION
from core.shards import shard_paths
from eval.items import Item

MODES = ("choice", "letter", "json", "reasoning")
"""The order of modes in tables; others follow by name."""

ITEM_SCHEMA = {
    "place": pl.Int32,
    "benchmark": pl.String,
    "group": pl.String,
    "item_id": pl.String,
    "topic": pl.String,
    "answer": pl.Int32,
    "choices": pl.Int32,
    "contaminated": pl.Boolean,
}
"""Questions over all benchmarks: ``place`` numbers them in the recipe's and the files' order."""

_NUMBERS = (
    "benchmark", "item_id", "permutation", "order", "choice", "correct", "logprobs", "read_by",
)  # fmt: skip


@dataclass(frozen=True)
class Label:
    """A row of the tables; ``mode`` is None where a model has no prediction at all."""

    name: str
    model: str
    mode: str | None

    @property
    def file_name(self) -> str:
        """The label as part of a file's name."""
        return self.model if self.name == self.model else f"{self.model}.{self.mode}"

    def record(self) -> dict[str, str | None]:
        """Returns the label's part of an entry of ``scores.json``."""
        return {"name": self.name, "model": self.model, "mode": self.mode}


def items_frame(
    benchmarks: Sequence[Benchmark],
    items: Mapping[str, Sequence[Item]],
    found: Mapping[str, set[str]] | None = None,
) -> pl.DataFrame:
    """Returns the questions with schema :data:`ITEM_SCHEMA`.

    Args:
        benchmarks: of the recipe.
        items: benchmark to its questions.
        found: benchmark to the ids that the corpus held; ``contaminated`` is null where it does
            not name the benchmark.
    """
    columns: dict[str, list[object]] = {name: [] for name in ITEM_SCHEMA}
    for benchmark in benchmarks:
        held = (found or {}).get(benchmark.name)
        for item in items[benchmark.name]:
            columns["place"].append(len(columns["place"]))
            columns["benchmark"].append(benchmark.name)
            columns["group"].append(benchmark.group)
            columns["item_id"].append(item.item_id)
            columns["topic"].append(item.topic)
            columns["answer"].append(item.answer)
            columns["choices"].append(len(item.choices))
            columns["contaminated"].append(None if held is None else item.item_id in held)
    return pl.DataFrame(columns, schema=ITEM_SCHEMA)


@dataclass(frozen=True)
class Predictions:
    """The rows of ``eval.mcq``, read when asked for.

    Args:
        folder: its folder.
        items: as of :func:`items_frame`.
    """

    folder: Path
    items: pl.DataFrame

    def _scan(self) -> pl.LazyFrame:
        paths = shard_paths(self.folder)
        if not paths:
            # No benchmark could be asked; scanning no file is an error in Polars.
            return pl.LazyFrame(schema={"model": pl.String, "mode": pl.String})
        return pl.scan_parquet(paths)

    def labels(self, models: Sequence[str]) -> list[Label]:
        """Returns the tables' rows: models in the given order, each with its modes."""
        pairs = collect(self._scan().select("model", "mode").unique(), self.folder).rows()
        labels = []
        for model in models:
            modes = sorted({mode or "" for name, mode in pairs if name == model}, key=_mode_order)
            for mode in modes:
                name = model if len(modes) == 1 else f"{model} · {mode}"
                labels.append(Label(name, model, mode))
            if not modes:
                labels.append(Label(model, model, None))
        return labels

    def of(self, label: Label) -> pl.DataFrame:
        """Returns a label's rows without their texts, joined with :data:`ITEM_SCHEMA`.

        Rows are sorted by permutation and place. A permutation that is null is 0, an order that is
        null the file's. ``correct`` is False where there is a key and no answer could be read.

        Raises:
            InputError: a row is of a question that the benchmark's file does not have.
        """
        if label.mode is None:
            return self._joined(_nothing())
        mine = (pl.col("model") == label.model) & (pl.col("mode").fill_null("") == label.mode)
        rows = collect(self._scan().filter(mine).select(_NUMBERS), self.folder)
        return self._joined(rows)

    def _joined(self, rows: pl.DataFrame) -> pl.DataFrame:
        joined = rows.join(self.items, on=["benchmark", "item_id"], how="left")
        lost = joined.filter(pl.col("place").is_null())
        if len(lost):
            raise InputError(
                f"{len(lost)} predictions are of questions that their file does not have, such as "
                f"'{lost['item_id'][0]}' of {lost['benchmark'][0]}",
                where=str(self.folder),
                remedy="run eval.mcq again: the benchmark has changed since",
            )
        unread = pl.col("choice").is_null() & pl.col("answer").is_not_null()
        return joined.with_columns(
            pl.col("permutation").fill_null(0),
            pl.col("correct").fill_null(pl.when(unread).then(False)),
        ).sort("permutation", "place")

    def texts(self, label: Label, places: Sequence[int]) -> pl.DataFrame:
        """Returns ``place, choice, correct, read_by, raw_text`` of a few questions."""
        wanted = self.items.filter(pl.col("place").is_in(list(places)))
        wanted = wanted.select("benchmark", "item_id", "place")
        if label.mode is None:
            return pl.DataFrame(schema={"place": pl.Int32})
        mine = (
            (pl.col("model") == label.model)
            & (pl.col("mode").fill_null("") == label.mode)
            & (pl.col("permutation").fill_null(0) == 0)
            & pl.col("benchmark").is_in(wanted["benchmark"].unique().to_list())
            & pl.col("item_id").is_in(wanted["item_id"].unique().to_list())
        )
        columns = ["benchmark", "item_id", "choice", "correct", "read_by", "raw_text"]
        rows = collect(self._scan().filter(mine).select(columns), self.folder)
        return rows.join(wanted, on=["benchmark", "item_id"]).sort("place")


def _nothing() -> pl.DataFrame:
    empty = pl.from_arrow(PREDICTION.empty_table().select(list(_NUMBERS)))
    assert isinstance(empty, pl.DataFrame)
    return empty


def _mode_order(mode: str) -> tuple[int, str]:
    return (MODES.index(mode) if mode in MODES else len(MODES), mode)


def collect(query: pl.LazyFrame, folder: Path) -> pl.DataFrame:
    """Returns a query's rows, read in a stream.

    Raises:
        InputError: a shard of the folder is truncated, not Parquet, or has other columns.
    """
    try:
        return query.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"cannot read these shards: {str(error).splitlines()[0]}",
            where=str(folder),
            remedy="delete the folder and run its stage again",
        ) from error


def in_file_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the rows that scores count: those of permutation 0."""
    return rows.filter(pl.col("permutation") == 0)


def padded(lists: pl.Series, width: int, fill: float = np.nan) -> npt.NDArray[np.float64]:
    """Returns a column of lists as a matrix ``(rows, width)``; what a list lacks is ``fill``."""
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    matrix = np.full((len(lists), width), fill)
    inside = np.arange(width) < lengths[:, None]
    # An empty list would become a null row of its own.
    values = lists.filter(lists.list.len() > 0).explode()
    matrix[inside] = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return matrix
