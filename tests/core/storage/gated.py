"""Stages that keep a diary outside the run, and one whose unit waits at a gate."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from core.graph import Pipeline
from core.progress import Reporter
from core.runner import run_pipeline
from core.stage import JobResult, JobStage, ShardResult, ShardStage, StageContext, Unit
from tests.core.runner.stages import SCHEMA, Numbers

_LONGEST_SECONDS = 300


class Doubled(ShardStage):
    """Doubles numbers; unit 1 waits until the file ``gate`` is there."""

    name = "corpus.doubled"
    description = "doubles"
    row_unit = "number"
    schema = SCHEMA
    aligned = inputs = ("corpus.numbers",)

    def __init__(self, notes: Path, factor: int = 2) -> None:
        self._notes = notes
        self._factor = factor

    def config(self) -> dict[str, Any]:
        return {"factor": self._factor}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        (table,) = self.read(unit, ctx)
        end = time.monotonic() + _LONGEST_SECONDS
        while unit.index == 1 and not (self._notes / "gate").exists():
            if time.monotonic() > end:
                raise TimeoutError("the gate never opened")
            time.sleep(0.05)
        with (self._notes / "diary").open("a") as diary:
            diary.write(f"{unit.index}\n")
        kept = [self._factor * n for n in table["number"].to_pylist()]
        return ShardResult(pa.table({"number": kept}, SCHEMA), [], table.num_rows)


class Summed(JobStage):
    """Sums what was doubled; its input is read whole."""

    name = "eval.summed"
    description = "sum"
    row_unit = "number"
    inputs = ("corpus.doubled",)
    volatile = ("when.txt",)

    def config(self) -> dict[str, Any]:
        return {}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        from core.shards import stream_batches

        numbers = [
            n for b in stream_batches(ctx.folder(self.inputs[0])) for n in b.column(0).to_pylist()
        ]
        (out / "model").mkdir()
        (out / "model" / "sum.txt").write_text(str(sum(numbers)))
        (out / "when.txt").write_text(str(time.time()))
        (out / "logs").mkdir()
        (out / "logs" / "speed.txt").write_text("fast")
        return JobResult(len(numbers), len(numbers), metrics={"sum": sum(numbers)})


def pipeline(ctx: StageContext, notes: Path, factor: int = 2, shards: int = 3) -> Pipeline:
    """Numbers, doubled and summed."""
    return Pipeline([Numbers(shards), Doubled(notes, factor), Summed()], ctx)


def go(found: Pipeline, address: str | None = None) -> list[str]:
    """Runs all, one unit at a time."""
    reporter = Reporter(Console(file=io.StringIO(), width=200))
    return run_pipeline(found, found.select(), reporter, workers=1, address=address)
