"""A source stage that reads only some of its units, and otherwise is the stage itself."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.atomic import write_json
from core.hashing import sha256_text, sha256_value
from core.plan.frames import Frame
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit

MIN_UNITS = 2
"""Units drawn from a stratum at least, where it has so many: one has no spread."""


class StatIndex(SourceIndex):
    """Knows files by size and date: hashing a whole corpus to read 1% of it would take longer."""

    def hashes(self, paths: Any) -> dict[str, str]:
        """Returns name to a hash of name, size and time of change; a file is not opened."""
        found = {}
        for path in paths:
            info = path.stat()
            name = self.name(path)
            found[name] = sha256_text(f"{name} {info.st_size} {info.st_mtime_ns}")
        return found


def stratum_of(unit: Unit) -> str:
    """Returns which of the units are alike: a catalog shard, an instruction set; else all are."""
    return str(unit.payload.get("shard") or unit.payload.get("set") or "")


def size_of(unit: Unit) -> float:
    """Returns the entries that a unit reads; 1 where it does not say."""
    return float(unit.payload.get("count", 1)) or 1.0


def choose(units: Sequence[Unit], share: float, seed: int) -> list[int]:
    """Returns the positions of the units that are drawn, in order.

    Args:
        units: of the whole stage.
        share: of the units of a stratum, above 0 and at most 1.
        seed: of the draw.
    """
    strata: dict[str, list[int]] = defaultdict(list)
    for position, unit in enumerate(units):
        strata[stratum_of(unit)].append(position)
    chosen: list[int] = []
    for name, members in sorted(strata.items()):
        count = min(len(members), max(MIN_UNITS, math.ceil(share * len(members) - 1e-9)))
        chosen += random.Random(f"{seed} {name}").sample(members, count)
    return sorted(chosen)


class SampledStage(ShardStage):
    """Some units of a source stage, numbered anew. What was left out is in ``frames/<stage>.json``.

    Stages after it are as ever: their shards go by its numbers.
    """

    def __init__(self, inner: ShardStage, share: float) -> None:
        """Takes the place of a stage.

        Args:
            inner: the stage; reads sources, not shards of another stage side by side.
            share: of its units to read.
        """
        self._inner = inner
        self._share = share
        self.name = inner.name
        self.description = inner.description  # type: ignore[misc]
        self.code_version = inner.code_version  # type: ignore[misc]
        self.reconcile = inner.reconcile  # type: ignore[misc]
        self.inputs = inner.inputs
        self.aligned = inner.aligned
        self.resources = inner.resources
        self.row_unit = inner.row_unit
        self.schema = inner.schema
        self.actors, self.workers = inner.actors, inner.workers
        self.row_group_rows = inner.row_group_rows

    def config(self) -> dict[str, Any]:
        """Returns the stage's own and the share."""
        return {**self._inner.config(), "sample": self._share}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns none: the drawn units know their files by size and date."""
        return []

    def source_names(self, ctx: StageContext) -> list[str]:
        """Returns the stage's own."""
        return self._inner.source_names(ctx)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns the drawn units, and writes down what they were drawn from."""
        index = StatIndex(ctx.root, ctx.run_dir / "cache" / "stat.json")
        units = self._inner.plan(ctx, index)
        chosen = choose(units, self._share, ctx.seed)
        whole_sizes: dict[str, float] = defaultdict(float)
        whole_units: dict[str, int] = defaultdict(int)
        for unit in units:
            whole_sizes[stratum_of(unit)] += size_of(unit)
            whole_units[stratum_of(unit)] += 1
        drawn = [units[position] for position in chosen]
        write_json(
            frame_path(ctx, self.name),
            {
                "strata": [stratum_of(unit) for unit in drawn],
                "sizes": [size_of(unit) for unit in drawn],
                "whole_sizes": whole_sizes,
                "whole_units": whole_units,
            },
        )
        return [
            replace(unit, index=number, digest=sha256_value([unit.digest, unit.index]))
            for number, unit in enumerate(drawn)
        ]

    def read(self, unit: Unit, ctx: StageContext) -> list[pa.Table]:
        """Reads as the stage does."""
        return self._inner.read(unit, ctx)

    def setup(self, ctx: StageContext) -> None:
        """Loads what the stage loads."""
        self._inner.setup(ctx)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Works as the stage does."""
        return self._inner.process(unit, ctx)


def frame_path(ctx: StageContext, stage: str) -> Path:
    """Returns where a sampled stage writes down what it drew from."""
    return ctx.run_dir / "frames" / f"{stage}.json"


def load_frame(path: Path) -> Frame:
    """Returns what a sampled stage wrote down."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Frame(
        tuple(data["strata"]), tuple(data["sizes"]), data["whole_sizes"], data["whole_units"]
    )
