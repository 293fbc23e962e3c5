"""Stages for runner tests: they count, crash, die or lose rows on demand."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from core.errors import EngineError, InputError
from core.rejects import Reason, Reject
from core.sources import SourceIndex
from core.stage import (
    JobResult,
    JobStage,
    Resources,
    ShardResult,
    ShardStage,
    StageContext,
    Unit,
)

SCHEMA = pa.schema([("number", pa.int64())])


class Numbers(ShardStage):
    """Makes ``shards`` shards of ten numbers; odd ones are rejected."""

    name = "corpus.numbers"
    description = "numbers"
    row_unit = "number"
    schema = SCHEMA

    def __init__(self, shards: int = 3, offset: int = 0) -> None:
        self._shards = shards
        self._offset = offset

    def config(self) -> dict[str, Any]:
        return {"offset": self._offset}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        return [Unit(i, {"from": 10 * i}, str(i)) for i in range(self._shards)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        numbers = range(unit.payload["from"], unit.payload["from"] + 10)
        kept = [n + self._offset for n in numbers if n % 2 == 0]
        rejects = [Reject(str(n), Reason.EMPTY_TEXT, "odd") for n in numbers if n % 2]
        return ShardResult(pa.table({"number": kept}, SCHEMA), rejects, 10, metrics={"seen": 10})


class Halve(ShardStage):
    """Reads numbers; halves them. Hooks for the tests are files in the run folder."""

    name = "corpus.halve"
    description = "halves"
    row_unit = "number"
    schema = SCHEMA
    aligned = inputs = ("corpus.numbers",)

    def __init__(self, actors: int | None = None, divisor: int = 2) -> None:
        self.actors = actors
        self._divisor = divisor

    def config(self) -> dict[str, Any]:
        return {"divisor": self._divisor}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        (table,) = self.read(unit, ctx)
        note(ctx, f"halve-{unit.index}")
        misbehave(ctx, unit)
        kept = [n // self._divisor for n in table["number"].to_pylist()]
        return ShardResult(pa.table({"number": kept}, SCHEMA), [], table.num_rows)


class Total(JobStage):
    """Sums the halves."""

    name = "eval.total"
    description = "sum"
    row_unit = "number"
    inputs = ("corpus.halve",)
    volatile: ClassVar[list[str]] = ["when.txt"]

    def config(self) -> dict[str, Any]:
        return {}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        from core.shards import stream_batches

        note(ctx, "total")
        numbers = [
            n for b in stream_batches(ctx.folder("corpus.halve")) for n in b.column(0).to_pylist()
        ]
        (out / "sum.txt").write_text(str(sum(numbers)))
        (out / "when.txt").write_text(str(os.getpid()))
        (out / "logs").mkdir()
        (out / "logs" / "speed.txt").write_text("fast")
        return JobResult(len(numbers), len(numbers), metrics={"sum": sum(numbers)})


class Fragile(JobStage):
    """Dies or raises on order, else writes one file."""

    name = "eval.fragile"
    description = "fragile"

    def config(self) -> dict[str, Any]:
        return {}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        note(ctx, "fragile")
        (out / "half.txt").write_text("half")
        misbehave(ctx, Unit(0, {}, ""))
        (out / "whole.txt").write_text("whole")
        return JobResult()


def note(ctx: StageContext, what: str) -> None:
    """Appends to the diary, which tells a test what really ran."""
    with (ctx.run_dir / "diary.txt").open("a") as diary:
        diary.write(what + "\n")


def misbehave(ctx: StageContext, unit: Unit) -> None:
    """Does what the test asked this unit to do."""
    order = ctx.run_dir / f"order-{unit.index}"
    if not order.exists():
        return
    what = order.read_text()
    if what == "die once":
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise ValueError("a bug")
    if what == "refuse":
        raise InputError("bad input", where="here", remedy="mend it")
    if what == "no model":
        raise EngineError("the server does not answer", where="http://x", remedy="start it")
    if what == "log":
        for number in range(300):
            logging.getLogger("corpus.test").info("line %d", number)
        logging.getLogger("other").warning("careful")


class Loser(Numbers):
    """Loses a row without a reject."""

    name = "corpus.loser"

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        result = super().process(unit, ctx)
        result.rejected.pop()
        return result


class Greedy(Numbers):
    """Needs what is not there."""

    name = "corpus.greedy"

    def __init__(self, resources: Resources) -> None:
        super().__init__()
        self.resources = resources
