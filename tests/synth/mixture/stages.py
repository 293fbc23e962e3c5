"""Runs stages in this process, one unit after the other, as the runner does on Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.hashing import sha256_file, sha256_value
from core.manifest import FileEntry, Manifest
from core.runner.commit import finished, process_unit
from core.schema import CONVERSATION
from core.shards import shard_name, write_shard
from core.sources import SourceIndex
from core.stage import JobStage, ShardStage, StageContext

WORDS = (
    *("star", "dust", "disc", "wind", "tide", "core", "halo", "orbit"),
    *("flux", "mass", "pole", "arc", "belt", "crater", "beam", "jet"),
)


def conversation(
    conv_id: str, question: str, answer: str, dataset: str = "qa", system: str | None = None
) -> dict[str, Any]:
    """A row of one question and its answer."""
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages += [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return {"conv_id": conv_id, "dataset": dataset, "messages": messages, "reasoning": False} | {
        "doc_ids": [f"doc:{conv_id}"]
    }


def made_up(dataset: str, count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows that resemble no other: their words spell their number and set."""
    rows = []
    for number in range(start, start + count):
        said = [
            f"{WORDS[(number >> shift) % 16]}{number}{dataset[-2:]}" for shift in range(0, 12, 2)
        ]
        rows.append(
            conversation(
                f"{dataset}-{number}",
                f"What {' '.join(said)}?",
                f"It {' '.join(said[::-1])}.",
                dataset,
            )
        )
    return rows


def write_input(ctx: StageContext, name: str, shards: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Writes conversations as a finished stage."""
    for number, rows in enumerate(shards):
        table = pa.Table.from_pylist(list(rows), schema=CONVERSATION)
        write_shard(ctx.folder(name) / shard_name(number), table)
    rows_in = sum(map(len, shards))
    _manifest(ctx.folder(name), name, "conversation", rows_in, rows_in, 0)


def _manifest(folder: Path, stage: str, unit: str, rows: int, out: int, rejected: int) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        FileEntry(str(path.relative_to(folder)), path.stat().st_size, sha256_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json" and "receipts" not in path.parts
    ]
    key = sha256_value([[f.name, f.sha256] for f in files])
    manifest = Manifest(stage, 1, {}, 1, {}, {}, "", key, key, files, unit, rows, out, rejected)
    manifest.save(folder)
    return manifest


def run_stages(ctx: StageContext, stages: Iterable[ShardStage | JobStage]) -> list[int]:
    """Brings stages up to date; returns how many units each worked on.

    ``process_unit`` checks that the rows add up.
    """
    worked = []
    for stage in stages:
        folder = ctx.folder(stage.name)
        if isinstance(stage, JobStage):
            folder.mkdir(parents=True, exist_ok=True)
            result = stage.run(ctx, folder)
            assert result.rows_in == result.rows_out + len(result.rejected)
            _manifest(folder, stage.name, stage.row_unit, result.rows_in, result.rows_out, 0)
            worked.append(1)
            continue
        units = stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))
        todo = [unit for unit in units if finished(stage, ctx, unit) is None]
        done = [process_unit(stage, ctx, unit) for unit in reversed(todo)]
        totals = [
            sum(getattr(r, n) for r in done) for n in ("rows_in", "rows_out", "rows_rejected")
        ]
        _manifest(folder, stage.name, stage.row_unit, *totals)
        worked.append(len(todo))
    return worked
