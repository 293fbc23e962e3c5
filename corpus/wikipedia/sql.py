r"""MediaWiki's SQL dumps, read column by column.

A dump is one table: ``CREATE TABLE`` gives the order of its columns, then come ``INSERT`` lines of
about 1 MB. Sort keys hold raw bytes, quotes, brackets and newlines, so the file cannot be split at
commas or line ends. Here one regular expression matches a whole row, and ``re.split`` cuts the text
at it: that gives one flat list in which every asked column is a slice, made in C, and what stands
between two rows, which must be nothing (or the next ``INSERT``), so no byte goes unaccounted. All
quantifiers are possessive: time is linear in the input, whatever it holds.

Memory is one piece of the file (2 MiB) and its rows, however long the lines are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import InputError
from corpus.wikipedia.files import Tick, read_chunks

REMEDY = "download the table again from dumps.wikimedia.org and check its md5 sum"

_MAX_ROW_BYTES = 32 << 20
_MAX_HEAD_BYTES = 4 << 20
_KEPT_BYTES = 4096

_CREATE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?`([^`\n]{1,64})` \(")
_COLUMN = re.compile(rb"^\s{0,8}`([^`\n]{1,64})` (\w+)", re.M)
_INTEGERS = frozenset({b"int", b"bigint", b"smallint", b"tinyint", b"mediumint"})
_NUMBERS = frozenset({b"float", b"double", b"decimal"})

_QUOTED = rb"'(%s[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+)'"
_SKIPPED = rb"(?:[^'(),]++|(?:_binary )?+" + _QUOTED % b"?:" + rb")"
_TAKEN = {
    "integer": rb"(NULL|-?\d{1,18}+)",
    "number": rb"([^'(),]++)",
    "bytes": rb"(?:(?:_binary )?+" + _QUOTED % b"" + rb"|NULL)",
}
_ESCAPE = re.compile(rb"\\(.)|''", re.S)
_ESCAPED = {b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a"}


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, in the columns that were asked for.

    Args:
        rows: how many.
        parts: the flat list: text between rows, then the columns of a row, again and again.
        names: the columns, in the order they have in ``parts``.
    """

    rows: int
    parts: list[bytes | None]
    names: tuple[str, ...]

    def _column(self, name: str) -> list[bytes | None]:
        stride = len(self.names) + 1
        return self.parts[self.names.index(name) + 1 : self.rows * stride : stride]

    def integers(self, name: str) -> npt.NDArray[np.int64]:
        """Returns an integer column, shape (rows,); NULL is -1."""
        text = b" ".join(self._column(name))  # type: ignore[arg-type]
        if b"N" in text:
            text = text.replace(b"NULL", b"-1")
        return np.fromstring(text, dtype=np.int64, sep=" ")

    def texts(self, name: str, rows: Iterable[int] | None = None) -> list[bytes | None]:
        """Returns a string column as its bytes, unescaped; NULL is None.

        Args:
            name: the column.
            rows: positions of the rows to return; None: all.
        """
        column = self._column(name)
        if rows is not None:
            column = [column[row] for row in rows]
        together = b"".join(filter(None, column))
        if b"\\" not in together and b"'" not in together:
            return column
        return [
            _unescape(value) if value and (b"\\" in value or b"'" in value) else value
            for value in column
        ]


def _unescape(value: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        letter = match[1]
        return b"'" if letter is None else _ESCAPED.get(letter, letter)

    return _ESCAPE.sub(plain, value)


def table_columns(path: Path, table: str) -> dict[str, str]:
    """Returns the table's columns in order: name to ``integer``, ``number`` or ``bytes``.

    Raises:
        InputError: the file is unreadable, or holds another table or none.
    """
    head = b""
    for chunk in read_chunks(path, REMEDY):
        head += chunk
        columns = _find_columns(head, table)
        if columns:
            return columns
        if len(head) > _MAX_HEAD_BYTES:
            break
    raise _not_the_table(path, table, head)


def _find_columns(head: bytes, table: str) -> dict[str, str] | None:
    for match in _CREATE.finditer(head):
        if match[1].decode("utf-8", "replace") == table:
            end = head.find(b"\n)", match.end())
            listed = _COLUMN.findall(head, match.end(), end) if end >= 0 else []
            return {name.decode("utf-8", "replace"): _kind(kind.lower()) for name, kind in listed}
    return None


def _kind(sql_type: bytes) -> str:
    if sql_type in _INTEGERS:
        return "integer"
    return "number" if sql_type in _NUMBERS else "bytes"


def _not_the_table(path: Path, table: str, head: bytes) -> InputError:
    found = sorted({m[1].decode("utf-8", "replace") for m in _CREATE.finditer(head)})
    held = f"it holds {', '.join(found)}" if found else "it has no CREATE TABLE"
    return InputError(
        f"this is not a dump of the table '{table}': {held}",
        where=str(path),
        remedy=f"give the file that is named ...-{table}.sql.gz on dumps.wikimedia.org",
    )


def read_table(
    path: Path, table: str, names: Sequence[str], tick: Tick | None = None
) -> Iterator[Batch]:
    """Streams the asked columns of a table.

    Args:
        path: the dump, ``.sql``, ``.sql.gz`` or ``.sql.bz2``.
        table: its name, such as ``categorylinks``.
        names: the columns.
        tick: told of progress in bytes on disk.

    Yields:
        Batches of some ten thousand rows, in file order.

    Raises:
        InputError: the file is damaged, holds another table, or lacks a column.
    """
    columns = table_columns(path, table)
    missing = [name for name in names if name not in columns]
    if missing:
        raise InputError(
            f"the table '{table}' has no column {', '.join(missing)}; it has {', '.join(columns)}",
            where=str(path),
            remedy="this MediaWiki version is not known here: take a dump of another date, or "
            "report the new schema",
        )
    # A row's columns come in the table's order.
    taken = tuple(name for name in columns if name in names)
    parser = _Rows(path, table, columns, taken)
    for chunk in read_chunks(path, REMEDY, tick):
        yield from parser.feed(chunk)
    parser.finish()


class _Rows:
    """Cuts a stream of pieces into rows."""

    def __init__(self, path: Path, table: str, columns: dict[str, str], taken: tuple[str, ...]):
        values = [_TAKEN[kind] if name in taken else _SKIPPED for name, kind in columns.items()]
        row = rb"\(" + rb", ?+".join(values) + rb"\)[,;]\s*+"
        self._row = re.compile(row, re.S)
        listed = rb"\s{0,8}\(([^()']{0,8192}+)\)"
        self._intro = re.compile(
            rb"(?:INSERT|REPLACE)(?: IGNORE)? INTO `?%s`?(?:%s)?\s{0,8}VALUES\s{0,8}"
            % (re.escape(table.encode()), listed)
        )
        self._path, self._names, self._columns = path, taken, list(columns)
        self._buffer, self._inside, self._rows = b"", False, 0

    def feed(self, chunk: bytes) -> Iterator[Batch]:
        self._buffer += chunk
        while True:
            if not self._inside and not self._enter():
                return
            batch, whole = self._take()
            if batch.rows:
                self._rows += batch.rows
                yield batch
            if whole or self._inside:
                break
        if self._inside and len(self._buffer) > _MAX_ROW_BYTES:
            raise self._malformed("no end of a row in 32 MiB")

    def finish(self) -> None:
        if self._inside:
            raise self._malformed("it ends inside an INSERT, or holds a row of another shape")

    def _enter(self) -> bool:
        """Drops the text up to the next INSERT; False when there is none yet."""
        match = self._intro.search(self._buffer)
        if match is None:
            self._buffer = self._buffer[-_KEPT_BYTES:]
            return False
        self._check(match)
        self._buffer = self._buffer[match.end() :]
        self._inside = True
        return True

    def _check(self, intro: re.Match[bytes]) -> None:
        if intro[1] is not None:
            listed = [
                n.strip().strip(b"`").decode("utf-8", "replace") for n in intro[1].split(b",")
            ]
            if listed != self._columns:
                raise self._malformed("its INSERT lines name the columns in another order")

    def _take(self) -> tuple[Batch, bool]:
        """Cuts off the rows at the buffer's start; True when that took all rows in it."""
        # White space that a piece's end cut off from what it follows.
        self._buffer = self._buffer.lstrip()
        parts = self._row.split(self._buffer)
        stride = len(self._names) + 1
        between = parts[::stride]
        rows = len(between) - 1
        whole = True
        if any(between[:-1]):
            rows = self._contiguous(between)
            whole = rows == len(between) - 1
        end = len(self._buffer) - len(between[-1]) if whole else self._end(rows)
        if rows:
            # The separator decides: a comma means more rows, a semicolon the statement's end.
            self._inside = self._buffer[max(0, end - _KEPT_BYTES) : end].rstrip()[-1:] != b";"
        self._buffer = self._buffer[end:]
        return Batch(rows, parts, self._names), whole

    def _contiguous(self, between: list[bytes]) -> int:
        for index, text in enumerate(between[:-1]):
            if text:
                intro = self._intro.fullmatch(text.strip()) if index else None
                if intro is None:
                    return index
                self._check(intro)
        return len(between) - 1

    def _end(self, rows: int) -> int:
        end = 0
        for count, match in enumerate(self._row.finditer(self._buffer)):
            if count == rows:
                break
            end = match.end()
        return end

    def _malformed(self, detail: str) -> InputError:
        return InputError(
            f"this SQL dump is malformed after {self._rows} rows: {detail}",
            where=str(self._path),
            remedy=REMEDY,
        )
