"""Instruction files to conversations: the stage ``synth.instruct``.

A conversation is named by its place - set, file, and where in the file - since ids in real sets
repeat within a file and between files, and only a place is unique without comparing all of them;
the record's own id is added, so that it can be found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import RecipeError
from core.hashing import sha256_value
from core.recipe.instruct import Instruct, InstructSet
from core.rejects import Reject
from core.schema import CONVERSATION
from core.sources import SourceIndex, find_files
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.instruct.blocks import ENDINGS, Block, file_blocks, file_labels
from synth.instruct.filters import make_filters
from synth.instruct.formats import Dialogue, read_dialogue
from synth.instruct.records import Record, RecordError, read_records

_CHUNK_ROWS = 1024
"""Rows kept as Python objects before they become columns, which take a third of the memory."""


@dataclass
class SetRead:
    """What a block of a set gave.

    Args:
        table: conversations, of :data:`core.schema.CONVERSATION`.
        rejects: records that gave none.
        counts: by set and kind, for the metrics.
    """

    table: pa.Table
    rejects: list[Reject] = field(default_factory=list)
    counts: dict[str, int | float] = field(default_factory=dict)


def conversations_from_records(records: Iterable[Record], section: InstructSet) -> SetRead:
    """Returns the conversations of an instruction set's records, and the records that give none.

    Args:
        records: of one block.
        section: the set's recipe.
    """
    filters = make_filters(section)
    chunks: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    counts: Counter[str] = Counter()
    for record in records:
        place = f"{section.name}:{record.place}"
        counts["records"] += 1
        try:
            dialogue = _dialogue(record, section)
            for check in filters:
                if (fault := check(dialogue)) is not None:
                    raise fault
        except RecordError as fault:
            counts[fault.reason.value] += 1
            rejects.append(Reject(place, fault.reason, fault.detail, record.shown()))
            continue
        counts.update(["kept", *dialogue.notes, *(["reasoning"] if dialogue.reasoning else [])])
        rows.append(_row(place, dialogue, section.name))
        if len(rows) == _CHUNK_ROWS:
            chunks.append(pa.Table.from_pylist(rows, schema=CONVERSATION))
            rows.clear()
    chunks.append(pa.Table.from_pylist(rows, schema=CONVERSATION))
    named: dict[str, int | float] = {
        f"{section.name}.{kind}": count for kind, count in sorted(counts.items())
    }
    return SetRead(pa.concat_tables(chunks), rejects, named)


def _dialogue(record: Record, section: InstructSet) -> Dialogue:
    if isinstance(record.value, RecordError):
        raise record.value
    return read_dialogue(record.value, section.format, section.keep_tools)


def _row(place: str, dialogue: Dialogue, name: str) -> dict[str, Any]:
    return {
        "conv_id": f"{place}:{dialogue.own_id}" if dialogue.own_id else place,
        "dataset": name,
        "messages": dialogue.turns,
        "reasoning": dialogue.reasoning,
        "doc_ids": [],
    }


class InstructStage(ShardStage):
    """Instruction files to conversations, one shard per block of a file."""

    name = "synth.instruct"
    description = "General instruction conversations read from files and filtered."
    code_version = 3
    row_unit = "conversation"
    schema = CONVERSATION

    def __init__(self, instruct: Instruct) -> None:
        self._sets = {one.name: one for one in instruct.sets}

    def config(self) -> dict[str, Any]:
        """Returns the sets with their filters."""
        return {"sets": [one.model_dump(mode="json") for one in self._sets.values()]}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of all sets, each once."""
        return sorted({path for one in self._sets.values() for path in self._files(ctx, one)})

    def _files(self, ctx: StageContext, section: InstructSet) -> list[Path]:
        where = f"synth.instruct.sets, {section.name}: paths"
        return find_files(ctx.root, section.paths, ENDINGS, where)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per block, set by set.

        Raises:
            InputError: a path names nothing, or a file that is no instruction data.
            RecipeError: a language that cannot be told.
        """
        hashes = sources.hashes(self.source_files(ctx))
        units: list[Unit] = []
        for section in self._sets.values():
            self._check_language(section)
            paths = self._files(ctx, section)
            labels = file_labels(paths)
            for path in paths:
                name = sources.name(path)
                for block in file_blocks(path, name, labels[path]):
                    payload = {"set": section.name, "block": block.payload()}
                    digest = sha256_value([payload, hashes[name]])
                    units.append(Unit(len(units), payload, digest))
        return units

    def _check_language(self, section: InstructSet) -> None:
        if section.language is None:
            return
        from core.language import known_languages

        if section.language not in known_languages():
            raise RecipeError(
                f"the language '{section.language}' cannot be told from others",
                where=f"synth.instruct.sets, {section.name}: language",
                remedy=f"leave the key out, or name one of {', '.join(sorted(known_languages()))}",
            )

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one block."""
        section = self._sets[unit.payload["set"]]
        block = Block(**unit.payload["block"])
        read = conversations_from_records(read_records(ctx.path(block.file), block), section)
        rows_in = read.table.num_rows + len(read.rejects)
        return ShardResult(read.table, read.rejects, rows_in, metrics=read.counts)
