"""Reads the records of a block, one JSON value each; a broken one costs itself alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.json_text import parse_json
from core.parquet_rows import fault_of, row_values
from core.rejects import Reason
from synth.instruct.blocks import RECORD_BYTES, Block, unreadable
from synth.instruct.json_array import array_elements

_SHOWN_CHARS = 16_000
"""Of a record, in a reject: nearly all are shorter."""

_PARQUET_BATCH_ROWS = 256


class RecordError(ValueError):
    """A record that gives no conversation.

    Args:
        reason: the kind of fault.
        detail: the particulars, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Args:
        place: the file's label and where in it: the byte that a line begins at, the number of an
            array's element or of a Parquet row, counted from 0. Unique, and the same however the
            file is cut into blocks.
        value: what it holds, or why that cannot be told.
        raw: its bytes; None for a Parquet row.
    """

    place: str
    value: Any | RecordError
    raw: bytes | None = None

    def shown(self) -> str:
        """Returns its text for a reject."""
        if self.raw is not None:
            return self.raw[:_SHOWN_CHARS].decode("utf-8", "backslashreplace")
        if isinstance(self.value, RecordError):
            return ""
        return json.dumps(self.value, ensure_ascii=False, default=str)[:_SHOWN_CHARS]


def read_records(path: Path, block: Block) -> Iterator[Record]:
    """Yields the records that begin in a block, in order; blank lines are none.

    Raises:
        InputError: a Parquet file is corrupt.
    """
    if block.kind == "parquet":
        yield from _rows(path, block)
        return
    with path.open("rb") as file:
        if block.kind == "array":
            for number, raw, whole in array_elements(file, block.start, block.end, RECORD_BYTES):
                yield _parsed(f"{block.label}:{number}", raw.strip(), whole)
        elif block.kind == "object":
            raw = file.read(RECORD_BYTES + 1).removeprefix(b"\xef\xbb\xbf")
            if raw.strip():
                yield _parsed(f"{block.label}:0", raw, len(raw) <= RECORD_BYTES)
        else:
            for offset, raw, whole in _lines(path, block):
                yield _parsed(f"{block.label}@{offset}", raw, whole)


def _lines(path: Path, block: Block) -> Iterator[tuple[int, bytes, bool]]:
    """Yields (offset, bytes, whole) of the lines that begin in the block."""
    with path.open("rb") as file:
        if block.start:
            # The line that reaches into the block is the one before's.
            file.seek(block.start - 1)
            _skip_line(file.readline(RECORD_BYTES), file)
        while (offset := file.tell()) < block.end:
            line = file.readline(RECORD_BYTES + 1)
            if not line:
                return
            whole = line.endswith(b"\n") or len(line) <= RECORD_BYTES
            if not whole:
                _skip_line(line, file)
            raw = (line.removeprefix(b"\xef\xbb\xbf") if offset == 0 else line).strip()
            if raw:
                yield offset, raw, whole


def _skip_line(read: bytes, file: Any) -> None:
    while read and not read.endswith(b"\n"):
        read = file.readline(RECORD_BYTES)


def _parsed(place: str, raw: bytes, whole: bool) -> Record:
    if not whole:
        limit = f"longer than {RECORD_BYTES >> 20} MiB"
        why = limit if len(raw) >= RECORD_BYTES else "the file ends inside of this record"
        return Record(place, RecordError(Reason.MALFORMED_RECORD, why), raw[:_SHOWN_CHARS])
    try:
        return Record(place, parse_json(raw.decode("utf-8")), raw)
    except UnicodeDecodeError as error:
        return Record(place, RecordError(Reason.INVALID_UTF8, str(error)), raw)
    except (ValueError, RecursionError) as error:
        detail = f"no JSON: {type(error).__name__}: {error}"
        return Record(place, RecordError(Reason.MALFORMED_RECORD, detail), raw)


def _rows(path: Path, block: Block) -> Iterator[Record]:
    """Yields the rows of a Parquet block, reading only the row groups that it lies in."""
    row = 0
    try:
        file = pq.ParquetFile(path)
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < block.end and row + rows > block.start:
                yield from _group_rows(file, group, row, block)
            row += rows
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error


def _group_rows(file: pq.ParquetFile, group: int, row: int, block: Block) -> Iterator[Record]:
    # Threads off: decoding ahead would hold more than a batch.
    for batch in file.iter_batches(_PARQUET_BATCH_ROWS, row_groups=[group], use_threads=False):
        first = max(block.start - row, 0)
        part = batch.slice(first, max(0, min(block.end - row, batch.num_rows) - first))
        for number, value in enumerate(row_values(part), row + first):
            yield Record(f"{block.label}:{number}", _value(value))
        row += batch.num_rows
        if row >= block.end:
            return


def _value(value: Any) -> Any:
    if isinstance(value, UnicodeDecodeError):
        return RecordError(Reason.INVALID_UTF8, str(value))
    if isinstance(value, Exception):
        return RecordError(Reason.MALFORMED_RECORD, f"the row cannot be read: {fault_of(value)}")
    return value
