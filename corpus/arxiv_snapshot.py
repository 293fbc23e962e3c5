"""The arXiv metadata snapshot in blocks of records, whatever its wrapping; never held in memory.

Kaggle gives JSON lines; the same file also goes round as one JSON array, gzipped, or as CSV. A
first pass finds where blocks of records begin and end, so that workers read them side by side.
Positions are bytes of the (decompressed) file, for CSV row numbers.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, cast

from core.errors import InputError

MAX_RECORD_BYTES = 1 << 26
"""A longer line or array item is no record: 64 MB, where real ones have 2 kB."""

_MAX_ITEM_BYTES = MAX_RECORD_BYTES
_CHUNK_BYTES = 1 << 20
# Skips strings whole, so that brackets inside them do not count. Possessive: linear time.
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+([{}\[\]])', re.DOTALL)
_BETWEEN_ITEMS = b" \t\r\n,[]"

Wrapping = Literal["lines", "array", "csv"]

_OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\xfd7zXZ": "compressed with xz",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "compressed with bzip2",
    b"PAR1": "a Parquet file",
    codecs.BOM_UTF16_LE: "in UTF-16",
    codecs.BOM_UTF16_BE: "in UTF-16",
}
"""First bytes of what the snapshot also comes as, Kaggle's own download among them."""


def blocks(path: Path, records: int) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of blocks of ``records`` records.

    Raises:
        InputError: the file cannot be read or decompressed, or its array is broken.
    """
    with _opened(path) as f:
        wrapping = _wrapping(f, path)
        if wrapping == "array":
            ends = _item_ends(f, path)
        elif wrapping == "csv":
            # The first row names the columns.
            ends = iter(range(1, sum(1 for _ in _csv_rows(f))))
        else:
            ends = _line_ends(f)
        start = 0
        while block := list(itertools.islice(ends, records)):
            yield start, block[-1]
            start = block[-1]


def read_block(path: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yields (position, JSON text) of the records of a block; blank lines skipped.

    Raises:
        InputError: the file cannot be read or decompressed.
    """
    with _opened(path) as f:
        wrapping = _wrapping(f, path)
        if wrapping == "csv":
            rows = _csv_rows(f)
            names = next(rows, [])
            for number, row in enumerate(itertools.islice(rows, start, end), start):
                yield number, json.dumps(dict(zip(names, row, strict=False))).encode()
            return
        f.seek(start)
        if wrapping == "array":
            yield from _array_records(f.read(end - start), start, path)
            return
        position = start
        while position < end and (line := f.readline(MAX_RECORD_BYTES)):
            if line.strip():
                yield position, line
            position += len(line)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as raw:
            head = raw.read(8)
            raw.seek(0)
            _refuse_other_kinds(head, path)
            if head.startswith(b"\x1f\x8b"):
                with gzip.GzipFile(fileobj=raw) as f:
                    yield cast(IO[bytes], f)
            else:
                yield raw
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(
            f"cannot read the metadata: {error}",
            where=str(path),
            remedy="the file is cut short or damaged: get it again",
        ) from error


def _refuse_other_kinds(head: bytes, path: Path) -> None:
    for mark, kind in _OTHER_KINDS.items():
        if head.startswith(mark):
            raise InputError(
                f"the metadata is {kind}",
                where=str(path),
                remedy="unpack or convert it: JSON lines, one JSON array or CSV, in UTF-8, are "
                "read, plain or gzipped",
            )


def _wrapping(f: IO[bytes], path: Path) -> Wrapping:
    head = f.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    f.seek(0)
    if head.startswith(b"["):
        return "array"
    return "csv" if path.name.lower().removesuffix(".gz").endswith(".csv") else "lines"


def _line_ends(f: IO[bytes]) -> Iterator[int]:
    position = 0
    while line := f.readline(MAX_RECORD_BYTES):
        position += len(line)
        yield position


def _csv_rows(f: IO[bytes]) -> Iterator[list[str]]:
    text = io.TextIOWrapper(f, encoding="utf-8-sig", errors="replace", newline="")
    # Of the whole process: others read CSV, too.
    before = csv.field_size_limit(MAX_RECORD_BYTES)
    try:
        # A NUL would end the reader with an error.
        yield from csv.reader(line.replace("\0", "") for line in text)
    finally:
        csv.field_size_limit(before)


def _item_ends(f: IO[bytes], path: Path) -> Iterator[int]:
    return (end for _, end in _items(f, 0, path))


def _items(f: IO[bytes], depth: int, path: Path) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of the objects of an array; ``depth`` 1 starts inside it."""
    buffer, base, position = b"", 0, 0
    start: int | None = None
    while True:
        match = _TO_BRACKET.match(buffer, position)
        if match is None:
            chunk = f.read(_CHUNK_BYTES)
            if not chunk:
                break
            base += position
            buffer, position = buffer[position:] + chunk, 0
            if len(buffer) > MAX_RECORD_BYTES:
                raise InputError(
                    f"this JSON array is broken after byte {base}: a string without its end",
                    where=str(path),
                    remedy="get the file again, or turn it into JSON lines",
                )
            continue
        position = match.end()
        if match[1] in b"{[":
            if depth == 0 and match[1] == b"{":
                # A bracket too many has closed the array before its end.
                depth = 1
            if depth == 1:
                start = base + position - 1
            depth += 1
        else:
            depth = max(depth - 1, 0)
            ends = depth == 1
            if start is not None and base + position - start > _MAX_ITEM_BYTES:
                # One is missing, and the rest of the file would be one record.
                depth, ends = 1, True
            if ends and start is not None:
                yield start, base + position
                start = None
    if start is not None:
        # Cut short: what is left of the last record will be a malformed one.
        yield start, base + len(buffer)


def _array_records(block: bytes, offset: int, path: Path) -> Iterator[tuple[int, bytes]]:
    # The first block opens with the array's own bracket.
    depth = 0 if offset == 0 else 1
    done = 0
    for start, end in itertools.chain(_items(io.BytesIO(block), depth, path), [(len(block),) * 2]):
        between = block[done:start].removeprefix(codecs.BOM_UTF8).strip(_BETWEEN_ITEMS)
        if between:
            yield offset + done, between
        if end > start:
            yield offset + start, block[start:end]
        done = end
