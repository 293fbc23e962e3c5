"""Texts in rows of files: Parquet and JSON lines, read in spans of bounded size.

A span is what is read at once: some rows of a Parquet file, or the lines that start in a range of
bytes (of the decompressed bytes, where a file is compressed). However large a file is, no more than
a span of its documents is ever held.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import InputError, first_line
from core.parquet_rows import row_values
from core.rejects import Reason, Reject

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".json.gz", ".jsonl.zst")

SPAN_BYTES = 256 << 20
_INFLATION = 4
"""Text over compressed bytes, to know about how many spans a compressed file has."""

_MAX_LINE_BYTES = 64 << 20
_ROWS_AT_ONCE = 256
_USUAL_ROW_BYTES = 4096

_READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class Columns:
    """What to read of a row.

    Args:
        text: column or JSON key of the text.
        facts: further ones that are read where a row has them.
        name: what the ids of rejects start with.
        key: recipe key that names the text's column, for errors.
    """

    text: str
    facts: tuple[str, ...]
    name: str
    key: str


@dataclass(frozen=True)
class Record:
    """One document; ``text`` is valid UTF-8 and not blank.

    Args:
        text: in UTF-8.
        at: its row in a Parquet file, or the byte that its line starts at.
        facts: of the columns asked for, those that it has; whatever they hold.
    """

    text: bytes
    at: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def file_spans(path: Path, span_bytes: int) -> list[tuple[int, int | None]]:
    """Returns the spans of a file: rows of Parquet, else bytes; None: to the end.

    A Parquet file that cannot be opened is one span, which :func:`read_span` gives as a reject.

    Args:
        path: the file.
        span_bytes: of a span, about. Whoever reads a span of a compressed file must unpack all
            that comes before it, so there they are at least :data:`SPAN_BYTES`.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _row_spans(path, span_bytes)
    size = path.stat().st_size
    if kind in (".gz", ".zst"):
        size *= _INFLATION
        span_bytes = max(span_bytes, SPAN_BYTES)
    starts = list(range(0, max(size, 1), span_bytes))
    return list(zip(starts, [*starts[1:], None], strict=True))


def _row_spans(path: Path, span_bytes: int) -> list[tuple[int, int | None]]:
    try:
        with pq.ParquetFile(path) as file:
            found = [file.metadata.row_group(g) for g in range(file.num_row_groups)]
            groups = [(group.num_rows, group.total_byte_size) for group in found]
    except _READ_ERRORS:
        return [(0, None)]
    starts = [0]
    first = held = 0
    for rows, size in groups:
        if held and held + size > span_bytes:
            starts.append(first)
            held = 0
        held += size
        # A writer may put a whole file into one group.
        pieces = min(math.ceil(held / span_bytes), rows)
        starts += [first + rows * piece // pieces for piece in range(1, pieces)]
        held = held // max(pieces, 1)
        first += rows
    return [*pairwise(starts), (starts[-1], None)]


def check_columns(path: Path, columns: Columns, shown: str) -> None:
    """Checks that a Parquet file has the text column; of a file that cannot be opened nothing.

    Raises:
        InputError: it has none.
    """
    if path.suffix.lower() == ".parquet":
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
        except _READ_ERRORS:
            return
        _check_column(schema, columns, f"{columns.name}@{shown}")


def expected_rows(path: Path, start: int, end: int | None) -> int:
    """Returns how many rows a span has: of Parquet exactly, else by their usual size."""
    try:
        if path.suffix.lower() == ".parquet":
            return int((pq.read_metadata(path).num_rows if end is None else end) - start)
        size = path.stat().st_size if end is None else end
        return max(1, (size - start) // _USUAL_ROW_BYTES)
    except _READ_ERRORS:
        return 1


def read_span(
    path: Path, start: int, end: int | None, columns: Columns, shown: str
) -> Iterator[Record | Reject]:
    """Yields the records of a span, and a reject for each row that is not one.

    Args:
        path: the file.
        start: first row, or byte that a line may start at.
        end: where the next span starts.
        columns: what to read of a row.
        shown: the file's name, for rejects.

    Raises:
        InputError: a Parquet file has no such text column.
    """
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_lines
    at = f"{columns.name}@{shown}"
    try:
        yield from read(path, start, end, columns, at)
    except _READ_ERRORS as error:
        detail = f"{shown} cannot be read to the end: {first_line(error)}"
        yield Reject(f"{at}:{start}", Reason.UNREADABLE_FILE, detail)


def _read_parquet(
    path: Path, start: int, end: int | None, columns: Columns, at: str
) -> Iterator[Record | Reject]:
    # Buffered: a row group may be as large as the file, and its columns are not read whole.
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        schema = file.schema_arrow
        _check_column(schema, columns, at)
        names = [n for n in (columns.text, *columns.facts) if n in schema.names]
        groups, row = _groups_of(file.metadata, start, end)
        if not groups:
            return
        for whole in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=names):
            # The first group may begin, and the last one end, with rows of other spans.
            skipped = min(max(start - row, 0), whole.num_rows)
            row += skipped
            batch = whole.slice(skipped, None if end is None else end - row)
            # As bytes: a file's strings need not be valid UTF-8.
            column = batch.column(columns.text)
            if isinstance(column, pa.DictionaryArray):
                column = column.dictionary_decode()
            texts = pc.cast(column, pa.large_binary()).to_pylist()
            others = [n for n in names if n != columns.text]
            rests = _plain(batch.select(others)) if others else [{}] * len(texts)
            for text, rest in zip(texts, rests, strict=True):
                yield _record(text, row, rest, f"{at}:{row}")
                row += 1
            if row == end:
                return


def _groups_of(metadata: Any, start: int, end: int | None) -> tuple[list[int], int]:
    """Returns the row groups that hold some rows, and the number of the first one's first row."""
    groups: list[int] = []
    first = before = 0
    for group in range(metadata.num_row_groups):
        after = before + metadata.row_group(group).num_rows
        if after > start and (end is None or before < end):
            first = first if groups else before
            groups.append(group)
        before = after
    return groups, first


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    # The text counts: what is said about it is left out where Python cannot hold it.
    return [row if isinstance(row, dict) else {} for row in row_values(batch)]


def _check_column(schema: pa.Schema, columns: Columns, at: str) -> None:
    kinds = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
    position = schema.get_field_index(columns.text)
    kind = schema.field(position).type if position >= 0 else None
    # pandas' categories.
    kind = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    if kind not in kinds:
        raise InputError(
            f"there is no text column '{columns.text}' among: {', '.join(schema.names)}",
            where=at,
            remedy=f"name it in {columns.key}, or take the file out of the paths",
        )


def _read_lines(
    path: Path, start: int, end: int | None, columns: Columns, at: str
) -> Iterator[Record | Reject]:
    with _open(path) as file:
        if start:
            file.seek(start - 1)
            _finish_line(file)
        while end is None or file.tell() < end:
            byte = file.tell()
            place = f"{at}:{byte}"
            line = file.readline(_MAX_LINE_BYTES)
            if not line:
                return
            if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                _finish_line(file)
                yield Reject(place, Reason.TOO_LONG, f"a line over {_MAX_LINE_BYTES} bytes")
            elif not line.isspace():
                yield _parse(line, byte, columns, place)


def _finish_line(file: BinaryIO) -> None:
    while (rest := file.readline(_MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def _open(path: Path) -> BinaryIO:
    kind = path.suffix.lower()
    if kind == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if kind == ".zst":
        return cast(BinaryIO, _Forward(pa.input_stream(str(path), compression="zstd")))
    return path.open("rb")


class _Forward(io.BufferedReader):
    """A stream that can only be read on, with a position and seeking ahead."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, 1 << 20)
        self._at = 0

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        self._at += len(line)
        return line

    def tell(self) -> int:
        return self._at

    def seek(self, target: int, whence: int = 0) -> int:
        while self._at < target and (skipped := self.read(min(1 << 20, target - self._at))):
            self._at += len(skipped)
        return self._at


def _parse(line: bytes, byte: int, columns: Columns, place: str) -> Record | Reject:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return Reject(place, Reason.INVALID_UTF8, "the line is not UTF-8")
    except (ValueError, RecursionError) as error:
        return Reject(place, Reason.MALFORMED_RECORD, f"not JSON: {error}", _shown(line))
    if not isinstance(row, dict):
        return Reject(place, Reason.MALFORMED_RECORD, "not a JSON object", _shown(line))
    text = row.get(columns.text)
    if not isinstance(text, str):
        detail = f"no text under '{columns.text}'"
        return Reject(place, Reason.MALFORMED_RECORD, detail, _shown(line))
    facts = {name: row[name] for name in columns.facts if name in row}
    try:
        return _record(text.encode(), byte, facts, place)
    except UnicodeEncodeError:
        return Reject(place, Reason.INVALID_UTF8, "half of a surrogate pair", text)


def _shown(line: bytes) -> str:
    return line[:1000].decode("utf-8", "replace")


def _record(text: bytes | None, at: int, row: dict[str, Any], place: str) -> Record | Reject:
    if text is None or text.isspace() or not text:
        return Reject(place, Reason.EMPTY_TEXT, "no text")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return Reject(place, Reason.INVALID_UTF8, str(error), text.decode("utf-8", "replace"))
    return Record(text, at, {name: value for name, value in row.items() if value is not None})
