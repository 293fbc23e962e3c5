"""Question files to records: JSON lines, JSON, CSV, Parquet, Excel workbooks.

Reading is in two steps. Here a file becomes records, each with its number and its text for a
reject; what a record means is decided elsewhere (``eval.items`` strictly, ``core.benchmark_text``
for its words alone). Both number records alike, so that ids without a column of their own agree.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError
from core.json_text import DoubledKeyError, parse_json
from core.parquet_rows import doubled_column, fault_of, row_values
from core.questions.names import QUESTION_NAMES, plain_name
from core.rejects import Reason

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".xlsx")

MAX_FILE_BYTES = 256 * 2**20
"""Text files are read whole; all of MMLU is 8 MB."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHECKED_BYTES = 4096


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Args:
        number: from 1; of JSON lines the line, of a list its place, of a table the row below the
            header.
        raw: its text, for a reject; may hold half a surrogate pair where the file is not UTF-8.
        value: a decoded JSON value, or a table row's cells by column name; None with a fault.
        fault: why it cannot be read, or empty.
        reason: the kind of fault.
    """

    number: int
    raw: str
    value: Any = None
    fault: str = ""
    reason: Reason = Reason.MALFORMED_RECORD


def read_records(path: Path) -> Iterator[Record]:
    """Yields the records of a question file, those that cannot be read too; blank ones are skipped.

    Args:
        path: read by its ending, one of :data:`ENDINGS`; text is UTF-8, with or without a byte
            order mark, or UTF-16 with one.

    Raises:
        InputError: the file cannot be read, or has no layout that is known.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".parquet":
            yield from _parquet_records(path)
        elif ending == ".xlsx":
            from core.questions.workbook import workbook_records

            yield from workbook_records(path)
        elif ending in (".csv", ".tsv"):
            from core.questions.tables import table_records

            for record in table_records(_text(path), path):
                yield _checked(record)
        elif ending in ENDINGS:
            for record in _json_records(_text(path), path):
                yield _checked(record)
        else:
            raise InputError(
                f"questions are not read from files of the kind '{ending}'",
                where=str(path),
                remedy=f"save them as one of {', '.join(ENDINGS)}",
            )
    except OSError as error:
        raise InputError(
            f"cannot read the questions: {error.strerror or error}",
            where=str(path),
            remedy="check the path of the benchmark in the recipe",
        ) from error


def _text(path: Path) -> str:
    """Returns a file's text; bytes that are not UTF-8 pass through as lone surrogates."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"{size:,} bytes are more than a file of questions has",
            where=str(path),
            remedy=f"split it into files of at most {MAX_FILE_BYTES:,} bytes, or use Parquet",
        )
    data = path.read_bytes()
    if data.startswith(_UTF16):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InputError(
                f"the file starts like UTF-16 but is none: {error.reason}",
                where=str(path),
                remedy="save it as UTF-8",
            ) from error
    if b"\0" in data[:_CHECKED_BYTES]:
        raise InputError(
            "this is no text in UTF-8: it holds zero bytes",
            where=str(path),
            remedy="save it as UTF-8, or give it the ending of what it is",
        )
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def _checked(record: Record) -> Record:
    """Returns the record, or its fault where its bytes were not UTF-8: nothing is guessed."""
    bad = next((c for c in record.raw if "\udc80" <= c <= "\udcff"), "")
    if not bad:
        return record
    fault = f"not UTF-8: byte 0x{ord(bad) - 0xDC00:02x}; save the file as UTF-8"
    return Record(record.number, record.raw, fault=fault, reason=Reason.INVALID_UTF8)


def _json_records(text: str, path: Path) -> Iterator[Record]:
    if path.suffix.lower() == ".json" or text.lstrip()[:1] == "[":
        try:
            whole = parse_json(text)
        except DoubledKeyError as error:
            # Of JSON lines it is one line's fault, told below.
            _refuse_if_whole(text, path, error)
            whole = None
        except (ValueError, RecursionError):
            whole = None
        listed = _listed(whole, path)
        if listed is not None:
            for number, value in enumerate(listed, start=1):
                yield Record(number, json.dumps(value, ensure_ascii=False), value)
            return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        raw = line.rstrip("\r")
        try:
            value = parse_json(raw)
        except (ValueError, RecursionError) as error:
            yield Record(number, raw, fault=f"not JSON: {error}")
            continue
        yield Record(number, raw, value)


def _listed(whole: Any, path: Path) -> list[Any] | None:
    """Returns the records of a whole JSON file, or None where it is JSON lines or nothing.

    Raises:
        InputError: it holds several lists of questions.
    """
    if not isinstance(whole, dict):
        return whole if isinstance(whole, list) else None
    lists = record_lists(whole)
    if len(lists) > 1:
        raise InputError(
            f"{len(lists)} lists in this file hold questions",
            where=str(path),
            remedy="save the one that is meant as a file of its own",
        )
    return lists[0]


def record_lists(whole: dict[str, Any]) -> list[list[Any]]:
    """Returns the lists of records that an object holds.

    They are all its lists of questions; where there is none, its longest list of objects, its
    questions by name, or it is the one record itself.
    """
    if _asks(whole):
        return [[whole]]
    lists = [rows for rows in whole.values() if isinstance(rows, list) and rows]
    tables = [rows for rows in lists if isinstance(rows[0], dict)]
    if tables:
        return [rows for rows in tables if _asks(rows[0])] or [max(tables, key=len)]
    if whole and all(isinstance(row, dict) and _asks(row) for row in whole.values()):
        return [[{"id": name} | row for name, row in whole.items()]]
    return [[whole]]


def _asks(record: dict[str, Any]) -> bool:
    return any(plain_name(key) in QUESTION_NAMES for key in record)


def _refuse_if_whole(text: str, path: Path, error: DoubledKeyError) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    raise InputError(str(error), where=str(path), remedy="remove one of the two") from error


def _parquet_records(path: Path) -> Iterator[Record]:
    number = 0
    try:
        # Memory map off: a file replaced under a reader must not fault it.
        file = pq.ParquetFile(path, memory_map=False)
        if twice := doubled_column(file.schema_arrow):
            raise InputError(
                f"two columns are named '{twice}'",
                where=str(path),
                remedy="rename or remove one of them",
            )
        for batch in file.iter_batches(batch_size=1024):
            for value in row_values(batch):
                number += 1
                yield _parquet_record(number, value)
    except pa.ArrowException as error:
        raise InputError(
            f"cannot read the questions: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="it is truncated or no Parquet file: fetch it again",
        ) from error


def _parquet_record(number: int, value: Any) -> Record:
    if not isinstance(value, Exception):
        return Record(number, json.dumps(value, ensure_ascii=False, default=str), value)
    not_text = isinstance(value, UnicodeDecodeError)
    reason = Reason.INVALID_UTF8 if not_text else Reason.MALFORMED_RECORD
    return Record(number, "", fault=f"the row cannot be read: {fault_of(value)}", reason=reason)
