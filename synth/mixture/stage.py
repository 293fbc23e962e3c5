"""Mixture, step 4 (map): the shuffled output shards, each gathered from all groups of inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.hashing import sha256_value
from core.manifest import Manifest
from core.schema import CONVERSATION
from core.shards import shard_paths
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.mixture.pick import PICKED, ROW_GROUP_ROWS
from synth.mixture.plan_files import Plan, read_parts


def read_rows_between(path: Path, start: int, end: int) -> pa.Table:
    """Returns the rows from ``start`` to ``end``; only the row groups that hold them are read.

    Row groups have :data:`synth.mixture.pick.ROW_GROUP_ROWS` rows: to ask the file for that takes
    longer than to read them.
    """
    first, last = start // ROW_GROUP_ROWS, -(-end // ROW_GROUP_ROWS)
    with pq.ParquetFile(path) as file:
        table = file.read_row_groups(range(first, last))
    return table.slice(start - first * ROW_GROUP_ROWS, end - start)


class MixtureStage(ShardStage):
    """The mixture."""

    name = "synth.mixture"
    description = "Conversation sets, sampled, without duplicates and benchmark items, shuffled."
    row_unit = "conversation"
    reconcile = "A conversation that comes more than once counts as often."
    schema = CONVERSATION

    def __init__(self, picked: str, plan: str) -> None:
        """Args: the stage that picks the conversations, and the plan's stage."""
        self.inputs = (picked, plan)
        self._picked, self._plan = picked, plan

    def config(self) -> dict[str, Any]:
        """Returns nothing: all is in the plan."""
        return {}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per output shard."""
        picked = Manifest.require(ctx.folder(self._picked), self._picked)
        digest = sha256_value([file.sha256 for file in picked.shards])
        rows = Plan.load(ctx.folder(self._plan)).output_rows
        return [Unit(index, {"rows": count}, digest) for index, count in enumerate(rows)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Gathers one output shard."""
        folder = ctx.folder(self._picked)
        parts = [PICKED.empty_table()]
        ranges = read_parts(ctx.folder(self._plan), unit.index)
        for path, (start, end) in zip(shard_paths(folder), ranges, strict=True):
            if start < end:
                parts.append(read_rows_between(path, start, end))
        table = pa.concat_tables(parts).sort_by("place")
        return ShardResult(table.select(CONVERSATION.names), rows_in=int(unit.payload["rows"]))
