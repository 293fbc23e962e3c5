"""What the mixture's plan says, on disk: for each group of input shards, where its rows go.

::

    plan.json                 groups of input shards, output shards, rows of each
    taken/part-00000.parquet  rows of that group that are taken, in the order of the output
    left/part-00000.parquet   its other rows: why, and which row stays instead
    parts.parquet             per output shard, which of each group's rows that are taken it gets
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from core.atomic import write_json
from core.shards import shard_name, write_shard
from synth.mixture.choice import Choice, Fate, Rows, copy_numbers, shuffled
from synth.mixture.sets import Ints

PLAN_NAME, PARTS_NAME = "plan.json", "parts.parquet"
TAKEN, LEFT = "taken", "left"

GROUP_BYTES = 1 << 27
GROUP_ROWS = 1 << 16
"""A group of input shards ends before it has more; its rows are in memory at once. The larger
groups are, the fewer parts an output shard is gathered from."""

TAKEN_ROW = pa.schema([(name, pa.int32()) for name in ("shard", "row", "target", "place", "copy")])
"""Row of an input shard, output shard that it goes to, its place there, and how many rows of the
mixture before it have its id. Input shards are numbered through all input stages.
"""

LEFT_ROW = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("fate", pa.int8()),
        ("listed", pa.bool_()),
        ("survivor", pa.string()),
        ("similarity", pa.float64()),
        ("items", pa.list_(pa.string())),
    ]
)
"""A row that is not taken: its :class:`synth.mixture.choice.Fate`, whether the recipe names its
set, the conversation that stays instead (null: itself), and the benchmark items that one holds.
"""

PARTS_ROW = pa.schema([("start", pa.list_(pa.int32())), ("end", pa.list_(pa.int32()))])
"""An output shard: of each group the first of its taken rows and the one after the last."""

_PARTS_AT_ONCE = 256


@dataclass(frozen=True)
class Group:
    """Input shards ``first`` to ``end``, exclusive, and their rows."""

    first: int
    end: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """What ``plan.json`` holds.

    Args:
        groups: of input shards, in order.
        output_rows: rows of each output shard.
    """

    groups: list[Group]
    output_rows: list[int]

    def save(self, folder: Path) -> None:
        """Writes the plan."""
        write_json(folder / PLAN_NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Reads the plan."""
        value: dict[str, Any] = json.loads((folder / PLAN_NAME).read_text(encoding="utf-8"))
        return cls([Group(**group) for group in value["groups"]], value["output_rows"])


def group_shards(rows: Rows) -> list[Group]:
    """Returns groups of consecutive shards of bounded size; a larger shard is alone in its."""
    groups: list[Group] = []
    first = size = 0
    ends = np.concatenate([[0], np.cumsum(rows.bytes)])[rows.offsets]
    for at in range(len(rows.shards)):
        more = int(ends[at + 1] - ends[at])
        count = int(rows.offsets[at + 1] - rows.offsets[first])
        if at > first and (size + more > GROUP_BYTES or count > GROUP_ROWS):
            groups.append(Group(first, at, int(rows.offsets[at] - rows.offsets[first])))
            first, size = at, 0
        size += more
    if rows.shards:
        groups.append(Group(first, len(rows.shards), rows.count - int(rows.offsets[first])))
    return groups


def write_plan(rows: Rows, choice: Choice, seed: int, per_shard: int, folder: Path) -> Plan:
    """Shuffles what is taken over output shards and writes all files.

    Args:
        rows: the conversations.
        choice: what becomes of them.
        seed: of the order.
        per_shard: rows of an output shard.
        folder: where the files go.
    """
    source = np.repeat(np.arange(rows.count), choice.times)
    # Copies of a row are not neighbours.
    again = np.arange(len(source)) - np.repeat(np.cumsum(choice.times) - choice.times, choice.times)
    places = shuffled(rows.key[source] + again.astype(np.uint64), seed)
    copies = copy_numbers(rows.id_hash[source])
    plan = Plan(
        group_shards(rows),
        [min(per_shard, len(source) - at) for at in range(0, len(source), per_shard)],
    )
    bounds = np.empty((len(plan.groups), len(plan.output_rows) + 1), dtype=np.int32)
    for number, group in enumerate(plan.groups):
        begin, end = rows.offsets[[group.first, group.end]].tolist()
        part = slice(*np.searchsorted(source, [begin, end]).tolist())
        order = np.argsort(places[part])
        at, place = source[part][order], places[part][order]
        shard, row = _split(rows, at)
        bounds[number] = np.searchsorted(place, np.arange(bounds.shape[1]) * per_shard)
        columns = [shard, row, place // per_shard, place % per_shard, copies[part][order]]
        taken = pa.table(columns, names=TAKEN_ROW.names).cast(TAKEN_ROW)
        write_shard(folder / TAKEN / shard_name(number), taken)
        others = begin + np.flatnonzero(choice.fate[begin:end] != Fate.TAKEN)
        write_shard(folder / LEFT / shard_name(number), _left_table(rows, choice, others))
    starts, ends = bounds[:, :-1].T, bounds[:, 1:].T
    parts = pa.table({"start": _lists(starts), "end": _lists(ends)}).cast(PARTS_ROW)
    write_shard(folder / PARTS_NAME, parts, _PARTS_AT_ONCE)
    plan.save(folder)
    return plan


def _lists(numbers: npt.NDArray[np.int32]) -> pa.Array:
    rows, length = numbers.shape
    offsets = pa.array(np.arange(rows + 1) * length, pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(numbers.ravel()))


def read_parts(folder: Path, target: int) -> list[tuple[int, int]]:
    """Returns, for each group, which of its taken rows an output shard gets: first, end."""
    with pq.ParquetFile(folder / PARTS_NAME) as file:
        table = file.read_row_group(target // _PARTS_AT_ONCE)
    row = table.slice(target % _PARTS_AT_ONCE, 1).to_pylist()[0]
    return list(zip(row["start"], row["end"], strict=True))


def _split(rows: Rows, at: Ints) -> tuple[Ints, Ints]:
    """Returns shard and row there of rows numbered through."""
    shard = np.searchsorted(rows.offsets, at, side="right") - 1
    return shard, at - rows.offsets[shard]


def _left_table(rows: Rows, choice: Choice, at: Ints) -> pa.Table:
    shard, row = _split(rows, at)
    survivor = choice.survivor[at]
    assert rows.conv_ids is not None
    # Null where it is the row itself.
    names = rows.conv_ids.take(pa.array(survivor, mask=survivor == at))
    return pa.table(
        {
            "shard": shard,
            "row": row,
            "fate": choice.fate[at],
            "listed": choice.listed[at],
            "survivor": names,
            "similarity": choice.similarity[at],
            "items": pa.array(
                [rows.items.get(number, []) for number in survivor.tolist()],
                pa.list_(pa.string()),
            ),
        }
    ).cast(LEFT_ROW)
