"""General text as records: Parquet and JSON lines, read in spans of bounded size.

A span is what one unit of work reads: some row groups of a Parquet file, or the lines that start
in a range of bytes (of the decompressed bytes, where a file is compressed). However large a file
is, no more than a span of its documents is ever held.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import InputError, first_line
from core.parquet_rows import row_values
from core.recipe.replay import Replay
from core.rejects import Reason, Reject

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".json.gz", ".jsonl.zst")

SPAN_BYTES = 256 << 20
_INFLATION = 4
"""Text over compressed bytes, to know about how many spans a compressed file has."""

_MAX_LINE_BYTES = 64 << 20
_ROWS_AT_ONCE = 256
_META = ("id", "dump", "date")
"""What is kept of a record besides text and address, where it has it."""

_READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class Record:
    """One document of general text; ``text`` is valid UTF-8 and not blank."""

    text: bytes
    url: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def doc_id(self, name: str) -> str:
        """Returns its id: the hash of its text, so that the same text is the same document."""
        return f"{name}:{hashlib.sha256(self.text).hexdigest()[:32]}"


def replay_key(seed: int, doc_id: str) -> int:
    """Returns a document's place in the seeded order of all documents, from 0 to 2**64 - 1."""
    digest = hashlib.sha256(f"{seed}\n{doc_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def file_spans(path: Path) -> list[tuple[int, int | None]]:
    """Returns the spans of a file: row groups of Parquet, else bytes; None: to the end.

    A Parquet file that cannot be opened is one span, which :func:`read_span` gives as a reject.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _group_spans(path)
    size = path.stat().st_size
    if kind in (".gz", ".zst"):
        size *= _INFLATION
    starts = list(range(0, max(size, 1), SPAN_BYTES))
    return list(zip(starts, [*starts[1:], None], strict=True))


def _group_spans(path: Path) -> list[tuple[int, int | None]]:
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            sizes = [metadata.row_group(g).total_byte_size for g in range(metadata.num_row_groups)]
    except _READ_ERRORS:
        return [(0, None)]
    spans: list[tuple[int, int | None]] = []
    start = held = 0
    for group, size in enumerate(sizes):
        if held and held + size > SPAN_BYTES:
            spans.append((start, group))
            start, held = group, 0
        held += size
    return [*spans, (start, None)]


def read_span(
    path: Path, start: int, end: int | None, section: Replay, shown: str
) -> Iterator[Record | Reject]:
    """Yields the records of a span, and a reject for each that is not one.

    Args:
        path: the file.
        start: first row group, or byte that a line may start at.
        end: where the next span starts.
        section: names the column, and the documents.
        shown: the file's name, for rejects.

    Raises:
        InputError: a Parquet file has no such text column.
    """
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_lines
    at = f"{section.name}@{shown}"
    try:
        yield from read(path, start, end, section, at)
    except _READ_ERRORS as error:
        detail = f"{shown} cannot be read to the end: {first_line(error)}"
        yield Reject(f"{at}:{start}", Reason.UNREADABLE_FILE, detail)


def _read_parquet(
    path: Path, start: int, end: int | None, section: Replay, at: str
) -> Iterator[Record | Reject]:
    # Buffered: a row group may be as large as the file, and its columns are not read whole.
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        schema = file.schema_arrow
        _check_column(schema, section, at)
        columns = [n for n in (section.text_column, "url", *_META) if n in schema.names]
        groups = list(range(start, file.num_row_groups if end is None else end))
        row = sum(file.metadata.row_group(group).num_rows for group in range(start))
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=columns):
            # As bytes: a file's strings need not be valid UTF-8.
            column = batch.column(section.text_column)
            if isinstance(column, pa.DictionaryArray):
                column = column.dictionary_decode()
            texts = pc.cast(column, pa.large_binary()).to_pylist()
            others = [n for n in columns if n != section.text_column]
            rests = _plain(batch.select(others)) if others else [{}] * len(texts)
            for text, rest in zip(texts, rests, strict=True):
                yield _record(text, rest, f"{at}:{row}")
                row += 1


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    # The text counts: what is said about it is left out where Python cannot hold it.
    return [row if isinstance(row, dict) else {} for row in row_values(batch)]


def _check_column(schema: pa.Schema, section: Replay, at: str) -> None:
    kinds = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
    position = schema.get_field_index(section.text_column)
    kind = schema.field(position).type if position >= 0 else None
    # pandas' categories.
    kind = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    if kind not in kinds:
        raise InputError(
            f"there is no text column '{section.text_column}' among: {', '.join(schema.names)}",
            where=at,
            remedy="name it in corpus.replay.text_column, or take the file out of the paths",
        )


def _read_lines(
    path: Path, start: int, end: int | None, section: Replay, at: str
) -> Iterator[Record | Reject]:
    with _open(path) as file:
        if start:
            file.seek(start - 1)
            _finish_line(file)
        while end is None or file.tell() < end:
            place = f"{at}:{file.tell()}"
            line = file.readline(_MAX_LINE_BYTES)
            if not line:
                return
            if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                _finish_line(file)
                yield Reject(place, Reason.TOO_LONG, f"a line over {_MAX_LINE_BYTES} bytes")
            elif not line.isspace():
                yield _parse(line, section, place)


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


def _parse(line: bytes, section: Replay, place: str) -> Record | Reject:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return Reject(place, Reason.INVALID_UTF8, "the line is not UTF-8")
    except (ValueError, RecursionError) as error:
        return Reject(place, Reason.MALFORMED_RECORD, f"not JSON: {error}", _shown(line))
    if not isinstance(row, dict):
        return Reject(place, Reason.MALFORMED_RECORD, "not a JSON object", _shown(line))
    text = row.get(section.text_column)
    if not isinstance(text, str):
        detail = f"no text under '{section.text_column}'"
        return Reject(place, Reason.MALFORMED_RECORD, detail, _shown(line))
    try:
        return _record(text.encode(), row, place)
    except UnicodeEncodeError:
        return Reject(place, Reason.INVALID_UTF8, "half of a surrogate pair", text)


def _shown(line: bytes) -> str:
    return line[:1000].decode("utf-8", "replace")


def _record(text: bytes | None, row: dict[str, Any], place: str) -> Record | Reject:
    if text is None or text.isspace() or not text:
        return Reject(place, Reason.EMPTY_TEXT, "no text")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return Reject(place, Reason.INVALID_UTF8, str(error), text.decode("utf-8", "replace"))
    url = row.get("url")
    meta = {name: str(row[name]) for name in _META if row.get(name) is not None}
    return Record(text, url if isinstance(url, str) else None, meta)
