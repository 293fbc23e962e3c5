"""Mixture, step 3 (map): the conversations that are taken, sorted by output shard; the rejects.

A unit is a group of input shards. Its rows lie in small row groups in the order of the output, so
that an output shard reads its rows of this group and few others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.copies import copy_id
from core.hashing import sha256_value
from core.manifest import Manifest
from core.rejects import Reason, Reject
from core.schema import CONVERSATION
from core.shards import read_shard, shard_name
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.mixture.choice import Fate
from synth.mixture.plan_files import LEFT, TAKEN, Plan
from synth.mixture.rows import input_shards, said_text

PICKED = pa.schema([*CONVERSATION, ("target", pa.int32()), ("place", pa.int32())])
"""A conversation, the output shard that it goes to, and its place there."""

ROW_GROUP_ROWS = 128
"""An output shard reads at most two row groups too many of a group."""

_BATCH_ROWS = 1024
_REASONS = {
    Fate.CONTAMINATED: Reason.CONTAMINATED,
    Fate.EXACT_DUPLICATE: Reason.EXACT_DUPLICATE,
    Fate.NEAR_DUPLICATE: Reason.NEAR_DUPLICATE,
    Fate.NOT_SAMPLED: Reason.NOT_SAMPLED,
}


def pick_conversations(
    conversations: pa.Table, taken: pa.Table, left: pa.Table
) -> tuple[pa.Table, list[Reject]]:
    """Takes a shard's rows.

    Args:
        conversations: the shard.
        taken: its rows of :data:`synth.mixture.plan_files.TAKEN_ROW`.
        left: its rows of :data:`synth.mixture.plan_files.LEFT_ROW`.

    Returns:
        Rows of :data:`PICKED`, and the rejects.
    """
    picked = conversations.take(taken["row"])
    ids = zip(picked["conv_id"].to_pylist(), taken["copy"].to_pylist(), strict=True)
    named = picked.set_column(
        0, CONVERSATION.field("conv_id"), pa.array([copy_id(*each) for each in ids], pa.string())
    )
    for column in ("target", "place"):
        named = named.append_column(column, taken[column])
    others = conversations.select(["conv_id", "messages"]).take(left["row"])
    rejects: list[Reject] = []
    for begin in range(0, left.num_rows, _BATCH_ROWS):
        rows = others.slice(begin, _BATCH_ROWS).to_pylist()
        reasons = left.slice(begin, _BATCH_ROWS).to_pylist()
        rejects += [_reject(row, why) for row, why in zip(rows, reasons, strict=True)]
    return named.cast(PICKED), rejects


def _reject(row: dict[str, Any], why: dict[str, Any]) -> Reject:
    fate = Fate(why["fate"])
    reason = _REASONS[fate]
    if fate is Fate.NOT_SAMPLED:
        detail = "" if why["listed"] else "synth.mixture.sets does not name its set"
        return Reject(row["conv_id"], reason, detail)
    survivor, similarity = why["survivor"], f"similarity {why['similarity']:.2f} to"
    detail = "; ".join(why["items"])
    if fate is Fate.EXACT_DUPLICATE:
        detail = f"says the same as {survivor}"
    elif fate is Fate.NEAR_DUPLICATE:
        detail = f"{similarity} {survivor}"
    elif survivor is not None:
        detail = f"{similarity} {survivor}, which holds {detail}"
    return Reject(row["conv_id"], reason, detail, said_text(row["messages"]))


class MixturePickStage(ShardStage):
    """Conversations that are taken, sorted by where they go."""

    name = "synth.mixture_pick"
    description = "The mixture's conversations, not yet shuffled; rejects are what it leaves out."
    row_unit = "conversation"
    reconcile = "Counts different conversations; one that comes more than once has as many rows."
    schema = PICKED
    row_group_rows = ROW_GROUP_ROWS

    def __init__(self, inputs: Sequence[str], plan: str) -> None:
        """Args: the stages of conversations, as the rows' stage has them, and the plan's stage."""
        self.inputs = (*inputs, plan)
        self._conversations = tuple(inputs)
        self._plan = plan

    def config(self) -> dict[str, Any]:
        """Returns nothing: all is in the plan."""
        return {}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per group of input shards."""
        folder = ctx.folder(self._plan)
        hashes = {file.name: file.sha256 for file in Manifest.require(folder, self._plan).files}
        shards = list(input_shards(ctx, self._conversations))
        units = []
        for index, group in enumerate(Plan.load(folder).groups):
            files = [hashes[f"{name}/{shard_name(index)}"] for name in (TAKEN, LEFT)]
            members = shards[group.first : group.end]
            payload = {
                "first": group.first,
                "shards": [[stage, name] for stage, name, _ in members],
            }
            units.append(Unit(index, payload, sha256_value([files, members])))
        return units

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Picks from one group."""
        folder, name = ctx.folder(self._plan), shard_name(unit.index)
        taken, left = read_shard(folder / TAKEN / name), read_shard(folder / LEFT / name)
        parts = [PICKED.empty_table()]
        rejects: list[Reject] = []
        rows = 0
        for number, (stage, shard) in enumerate(unit.payload["shards"], unit.payload["first"]):
            conversations = read_shard(ctx.folder(stage) / shard)
            rows += conversations.num_rows
            own = [table.filter(pc.equal(table["shard"], number)) for table in (taken, left)]
            picked, others = pick_conversations(conversations, *own)
            parts.append(picked)
            rejects += others
        table = pa.concat_tables(parts).sort_by([("target", "ascending"), ("place", "ascending")])
        return ShardResult(table, rejects, rows_in=rows, rows_out=rows - len(rejects))
