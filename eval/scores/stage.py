"""From predictions and held-out likelihoods to ``scores.json``: what the models can do.

Every accuracy comes with its 95% Wilson interval and the accuracy that guessing would have. The
verdicts say in plain words whether the models do what they are trained for, and say so plainly
when they do not.

Files of the stage::

    scores.json                          everything that is counted (:mod:`eval.scores.content`)
    samples.json                         a few questions with every model's answer
    answers.parquet                      every answer (:mod:`eval.scores.submission`)
    submission/<benchmark>.<model>.csv   predicted letters, for benchmarks without a full key
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow.parquet as pq

from core.atomic import write_json, write_text
from core.contamination_files import read_found
from core.recipe.eval import Benchmark, HeldoutSet
from core.shards import count_rows, shard_paths
from core.stage import JobResult, JobStage, StageContext
from eval.items import benchmark_file, load_items
from eval.scores.content import Gathered
from eval.scores.likelihood import model_likelihoods
from eval.scores.rows import Label, Predictions, in_file_order, items_frame
from eval.scores.samples import choose_samples
from eval.scores.submission import (
    ANSWER,
    ANSWERS_NAME,
    answers_table,
    needs_submission,
    submission_csv,
)

SCORES_NAME = "scores.json"


class ScoresStage(JobStage):
    """Adds up predictions and held-out likelihoods."""

    name = "eval.scores"
    code_version: ClassVar[int] = 2
    description: ClassVar[str] = "Accuracy with intervals, calibration, comparisons, verdicts"
    row_unit = "score"

    def __init__(
        self,
        models: dict[str, str],
        benchmarks: Sequence[Benchmark],
        sets: Sequence[HeldoutSet] = (),
        contamination: str | None = None,
    ) -> None:
        """Takes the recipe's parts.

        Args:
            models: as given to the stages read; their order is the tables' order.
            benchmarks: as given to ``eval.mcq``.
            sets: as given to ``eval.heldout``; without any, that stage is not read.
            contamination: stage whose report says which questions the corpus held
                (``corpus.contamination_report``); None where there is none.
        """
        self._models = list(models)
        self._benchmarks = list(benchmarks)
        self._sets = list(sets)
        self._contamination = contamination
        self.inputs = (
            "eval.mcq",
            *(("eval.heldout",) if self._sets else ()),
            *((contamination,) if contamination else ()),
        )

    def config(self) -> dict[str, Any]:
        """Returns names and groups."""
        return {
            "models": self._models,
            "benchmarks": [
                b.model_dump(mode="json", include={"name", "path", "group"})
                for b in self._benchmarks
            ],
            "heldout": [s.model_dump(mode="json", exclude={"paths"}) for s in self._sets],
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files: topics and texts come from them."""
        return [benchmark_file(b, ctx) for b in self._benchmarks]

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the files named in the module's docstring."""
        items = {b.name: load_items(benchmark_file(b, ctx))[0] for b in self._benchmarks}
        found = read_found(ctx.folder(self._contamination)) if self._contamination else None
        folder = ctx.folder("eval.mcq")
        heldout = ctx.folder("eval.heldout") if self._sets else None
        predictions = Predictions(folder, items_frame(self._benchmarks, items, found))
        gathered = Gathered(
            self._benchmarks,
            predictions.items,
            partial(model_likelihoods, heldout, sets=self._sets),
        )
        out.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(out / ANSWERS_NAME, ANSWER, compression="zstd") as writer:
            for label in predictions.labels(self._models):
                rows = predictions.of(label)
                gathered.add(label, rows)
                first = in_file_order(rows)
                writer.write_table(answers_table(label, first))
                self._write_submissions(label, first, out / "submission")
        scores = gathered.content(found)
        write_json(out / SCORES_NAME, scores)
        samples = choose_samples(gathered.labels, gathered.marks, predictions, items)
        write_json(out / "samples.json", samples)
        inputs = [*shard_paths(folder), *(shard_paths(heldout) if heldout else ())]
        counted = sum(count_rows(path) for path in inputs)
        return JobResult(rows_in=counted, rows_out=counted, metrics=_metrics(scores))

    def _write_submissions(self, label: Label, first: pl.DataFrame, folder: Path) -> None:
        for benchmark in self._benchmarks:
            mine = first.filter(pl.col("benchmark") == benchmark.name)
            if needs_submission(mine):
                path = folder / f"{benchmark.name}.{label.file_name}.csv"
                write_text(path, submission_csv(mine))


def _metrics(scores: dict[str, Any]) -> dict[str, Any]:
    return {
        f"accuracy_{group}_{model['name']}": values["accuracy"]
        for model in scores["models"]
        for group, values in model["groups"].items()
        if values["accuracy"] is not None
    }
