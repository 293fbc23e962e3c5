"""How the runner bears many shards, and what a second worker brings.

* ``shards``: a stage of N empty shards, and one that reads them shard by shard, each N in a fresh
  driver. Prints the driver's memory as the shards pass, then what planning, the manifest, a rerun
  with nothing to do, a resume of finished shards and ``status`` take. With ``--written`` the
  first stage's shards are copied, without Ray, and its run finds them done: half the time, for the
  numbers of the second stage.
* ``overhead``: N empty shards as bare Ray tasks and by the runner, in turn, in one session.
* ``speedup``: normalize on damaged text with one worker and with two, in turn, in one session;
  beside it the same work in plain processes, which is what the machine allows.

Run ``python -m bench.scale shards 10000 100000``; memory is MiB of resident memory. Libraries that
would start threads of their own are held to one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from rich.console import Console
from rich.table import Table

from bench.memory import measured, own_peak_mib
from core.atomic import write_json
from core.graph import Pipeline
from core.manifest import MANIFEST_NAME, Manifest
from core.progress import Reporter
from core.recipe.corpus import Normalize
from core.runner import run_pipeline
from core.runner.commit import process_unit, receipt_path, unit_key
from core.schema import DOCUMENT
from core.session import ray_session
from core.shards import shard_name
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.normalize import NormalizeStage, normalize_documents

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_POINTS = 10
"""Looks at the driver's memory while a stage runs."""
_SCHEMA = pa.schema([("number", pa.int64())])
_SENTENCE = "Les étoiles de l’amas — à 3 kpc — montrent un décalage de “−12 km/s” près du cœur. "


class _Made(ShardStage):
    """Empty shards out of nothing."""

    name = "corpus.made"
    description = "empty shards"
    schema = _SCHEMA

    def __init__(self, shards: int, round_: int = 0) -> None:
        """Takes the number of shards; another round is another config, so nothing is skipped."""
        self._shards, self._round = shards, round_

    def config(self) -> dict[str, Any]:
        return {"shards": self._shards, "round": self._round}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        return [Unit(index, {}, str(index)) for index in range(self._shards)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        return ShardResult(_SCHEMA.empty_table(), metrics={"empty": 1})


class _Copied(ShardStage):
    """Reads each shard of the stage before."""

    name = "corpus.copied"
    description = "copied shards"
    schema = _SCHEMA
    aligned = inputs = ("corpus.made",)

    def config(self) -> dict[str, Any]:
        return {}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        (table,) = self.read(unit, ctx)
        return ShardResult(table, rows_in=table.num_rows)


class _Damaged(ShardStage):
    """Documents whose text was decoded wrongly, so that to normalize them takes time."""

    name = "corpus.damaged"
    description = "documents with damaged text"
    schema = DOCUMENT

    def __init__(self, shards: int, documents: int) -> None:
        """Takes shards and documents a shard."""
        self._shards, self._documents = shards, documents

    def config(self) -> dict[str, Any]:
        return {"shards": self._shards, "documents": self._documents}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        return [Unit(index, {}, str(index)) for index in range(self._shards)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        draw = random.Random(unit.index)
        documents = []
        for number in range(self._documents):
            lines = [_SENTENCE + str(draw.random()) for _ in range(60)]
            text = "\n".join(s.encode().decode(draw.choice(["latin-1", "utf-8"])) for s in lines)
            documents.append(Document(f"made:{unit.index}-{number}", "made", text=text))
        return ShardResult(documents_table(documents), rows_in=self._documents)


class _Memory:
    """Notes and prints the driver's memory as a stage goes on: a long run shows where it is."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, float]] = []
        self._name = ""

    def stage(self, name: str, number: int, count: int) -> None:
        self._name = name

    def units(self, done: int, total: int, rows: int, note: str) -> None:
        if done and done % max(1, total // _POINTS) == 0:
            self.seen.append((self._name, done, _memory_mib()))
            print(f"{self._name} {done:,}: {self.seen[-1][2]:.1f} MiB", file=sys.stderr, flush=True)


def _memory_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    value = call()
    return value, time.perf_counter() - started


def _quiet(*listeners: Any) -> Reporter:
    return Reporter(Console(quiet=True), listeners)


def _drive(folder: Path, shards: int, workers: int) -> dict[str, Any]:
    """Runs both stages; returns what was seen. For a process of its own."""
    found: dict[str, Any] = {}
    ctx = StageContext(folder, folder, seed=0)
    memory = _Memory()
    # A spawned process has this module under a name that workers cannot import.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with ray_session(None, workers):
        found["memory at start, MiB"] = _memory_mib()
        for stage in (_Made(shards), _Copied()):
            pipeline = Pipeline([_Made(shards), _Copied()], ctx)
            chosen = pipeline.select(only=stage.name)
            _, seconds = _timed(lambda: run_pipeline(pipeline, chosen, _quiet(memory)))  # noqa: B023
            found[f"{stage.name}, ms a shard"] = seconds / shards * 1000
        for name, done, mib in memory.seen:
            found[f"memory at {name} {done:,}, MiB"] = mib
        found["peak memory, MiB"] = own_peak_mib()
        pipeline = Pipeline([_Made(shards), _Copied()], ctx)
        _, found["rerun with nothing to do, s"] = _timed(
            lambda: run_pipeline(pipeline, pipeline.select(), _quiet())
        )
        (ctx.folder(_Copied.name) / MANIFEST_NAME).unlink()
        pipeline = Pipeline([_Made(shards), _Copied()], ctx)
        _, found["resume with all shards done, s"] = _timed(
            lambda: run_pipeline(pipeline, pipeline.select(), _quiet())
        )
        found["peak memory after that, MiB"] = own_peak_mib()
    return found


def _look(folder: Path, shards: int) -> dict[str, Any]:
    """Returns what looking at the finished run takes. For a process of its own."""
    ctx = StageContext(folder, folder, seed=0)
    pipeline = Pipeline([_Made(shards), _Copied()], ctx)
    before = _memory_mib()
    states, status = _timed(pipeline.states)
    assert all(state.fresh for state in states.values())
    manifest, load = _timed(lambda: Manifest.require(ctx.folder(_Made.name), _Made.name))
    units, plan = _timed(lambda: sum(1 for _ in _Copied().plan(ctx, pipeline.sources)))
    assert units == shards == len(manifest.shards)
    return {
        "status (two stages), s": status,
        "memory that takes, MiB": own_peak_mib() - before,
        "manifest read, s": load,
        "plan of the second stage, s": plan,
        "manifest on disk, MiB": (ctx.folder(_Made.name) / MANIFEST_NAME).stat().st_size / 2**20,
    }


def _write_first_stage(run_dir: Path, shards: int) -> None:
    """Writes the first stage's shards and receipts without Ray: all are copies of one."""
    stage, ctx = _Made(shards), StageContext(run_dir, run_dir, seed=0)
    folder, config_digest = ctx.folder(stage.name), stage.config_digest(ctx)
    units = stage.plan(ctx, SourceIndex(run_dir, run_dir / "sources.json"))
    receipt = process_unit(stage, ctx, units[0])
    (entry,) = receipt.files
    for unit in units[1:]:
        name = shard_name(unit.index)
        shutil.copyfile(folder / entry.name, folder / name)
        key = unit_key(stage, ctx, unit, config_digest)
        copied = replace(receipt, index=unit.index, key=key, files=[replace(entry, name=name)])
        write_json(receipt_path(folder, unit.index), asdict(copied))


def shards(counts: list[int], workers: int, root: Path | None, written: bool) -> Table:
    """Measures runs of so many shards, each in a fresh driver."""
    columns: list[dict[str, Any]] = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            folder = Path(temporary) / "run"
            if written:
                _write_first_stage(folder, count)
            found = measured(_drive, folder, count, workers).value
            columns.append({**found, **measured(_look, folder, count).value})
    table = Table("shards", *(f"{count:,}" for count in counts))
    names = dict.fromkeys(name for column in columns for name in column)
    for name in names:
        values = [column.get(name) for column in columns]
        table.add_row(name, *("" if v is None else f"{v:,.2f}" for v in values))
    return table


def _write_empty(path: Path) -> None:
    pq.write_table(_SCHEMA.empty_table(), path, compression="zstd")


def overhead(count: int, rounds: int, workers: int, root: Path | None) -> Table:
    """Measures bare Ray tasks and the runner on the same number of empty shards, in turn."""
    bare = ray.remote(_write_empty)
    table = Table("round", "bare Ray, s", "runner, s", "extra per shard, ms")
    extras = []
    with tempfile.TemporaryDirectory(dir=root) as temporary, ray_session(None, workers):
        folder = Path(temporary)
        for number in range(rounds):
            out = folder / f"bare-{number}"
            out.mkdir()
            paths = [out / shard_name(index) for index in range(count)]
            _, theirs = _timed(lambda: ray.get([bare.remote(path) for path in paths]))  # noqa: B023
            pipeline = Pipeline([_Made(count, number)], StageContext(folder / "run", folder, 0))
            _, ours = _timed(lambda: run_pipeline(pipeline, pipeline.select(), _quiet()))  # noqa: B023
            extras.append((ours - theirs) / count * 1000)
            table.add_row(str(number), f"{theirs:.1f}", f"{ours:.1f}", f"{extras[-1]:.2f}")
    table.add_row("median", "", "", f"{statistics.median(extras):.2f}")
    return table


def _normalize(path: Path) -> None:
    normalize_documents(pq.read_table(path), 0)


def speedup(count: int, documents: int, rounds: int, root: Path | None) -> Table:
    """Measures normalize with one worker and two, and the same in plain processes, in turn."""
    table = Table("round", "1 worker, s", "2 workers, s", "speed-up", "plain processes")
    ratios, limits = [], []
    with tempfile.TemporaryDirectory(dir=root) as temporary, ray_session(None, 2):
        ctx = StageContext(Path(temporary) / "run", Path(temporary), seed=0)
        made = _Damaged(count, documents)
        pipeline = Pipeline([made], ctx)
        run_pipeline(pipeline, pipeline.select(), _quiet())
        paths = [ctx.folder(made.name) / shard_name(index) for index in range(count)]
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as one, context.Pool(2) as two:
            # The first round starts workers and imports.
            for number in range(rounds + 1):
                took = {workers: _normalized(ctx, made, number, workers) for workers in (1, 2)}
                plain = [_timed(lambda: p.map(_normalize, paths, 1))[1] for p in (one, two)]  # noqa: B023
                if number:
                    ratios.append(took[1] / took[2])
                    limits.append(plain[0] / plain[1])
                    seconds = (f"{took[1]:.2f}", f"{took[2]:.2f}")
                    table.add_row(str(number), *seconds, f"{ratios[-1]:.2f}", f"{limits[-1]:.2f}")
    medians = (statistics.median(ratios), statistics.median(limits))
    table.add_row("median", "", "", *(f"{value:.2f}" for value in medians))
    return table


def _normalized(ctx: StageContext, made: _Damaged, number: int, workers: int) -> float:
    # Another min_chars is another config: nothing can be skipped.
    stage = NormalizeStage(Normalize(min_chars=2 * number + workers), made.name)
    pipeline = Pipeline([made, stage], ctx)
    return _timed(lambda: run_pipeline(pipeline, pipeline.select(), _quiet(), workers=workers))[1]


def main() -> None:
    """Prints the table of the measurement asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where runs are made; default: temporary files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    kinds = parser.add_subparsers(dest="kind", required=True)
    many = kinds.add_parser("shards")
    many.add_argument("counts", type=int, nargs="+")
    many.add_argument("--written", action="store_true", help="the first stage's are written")
    kinds.add_parser("overhead").add_argument("count", type=int, nargs="?", default=10_000)
    speed = kinds.add_parser("speedup")
    speed.add_argument("--shards", type=int, default=24)
    speed.add_argument("--documents", type=int, default=40, help="documents per shard")
    given = parser.parse_args()
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    if given.kind == "shards":
        table = shards(given.counts, given.workers, given.folder, given.written)
    elif given.kind == "overhead":
        table = overhead(given.count, given.rounds, given.workers, given.folder)
    else:
        table = speedup(given.shards, given.documents, given.rounds, given.folder)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
