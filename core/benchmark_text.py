"""What a benchmark file says, whatever its layout: questions, choices, answers.

Only the words matter here, so the reader is tolerant: it needs no key, no number of choices, and no
known layout (``eval.items`` is the strict one; items have the same ids in both). A record without
any text is passed over.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError
from core.paragraphs import split_paragraphs
from core.parquet_rows import fault_of, row_values
from core.questions.records import Record, record_lists
from core.questions.tables import table_records
from core.questions.workbook import workbook_records

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".xlsx", ".txt", ".md")

_IDS = ("item_id", "id")
_QUESTIONS = ("question", "prompt", "problem", "query", "instruction", "stem", "input", "text")
_CHOICES = re.compile(r"choices?|options?|(?:choice|option|answer)_?\d{1,2}|[a-j]|distractor\d?")
_ANSWERS = ("answer", "answers", "solution", "output", "response", "explanation", "support")
_DEEP = 8


@dataclass(frozen=True)
class BenchmarkItem:
    """One question.

    Args:
        benchmark: name of its benchmark.
        item_id: its id there; the line or row number, from 1, where it has none.
        question: its text.
        others: choices, then answer texts, in order.
    """

    benchmark: str
    item_id: str
    question: str
    others: tuple[str, ...] = ()


def read_benchmark(name: str, path: Path) -> list[BenchmarkItem]:
    """Reads a benchmark file.

    Raises:
        InputError: it cannot be read, or holds no text at all.
    """
    items = []
    try:
        for number, record in _records(path):
            item = _item(name, number, record)
            if item is not None:
                items.append(item)
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise InputError(
            f"cannot read this benchmark: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="check the path in the recipe; save the file as JSON lines or CSV in UTF-8",
        ) from error
    if not items:
        raise InputError(
            "this benchmark holds no question",
            where=str(path),
            remedy=f"give one of {', '.join(ENDINGS)}, with a column 'question'",
        )
    return items


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields (number, record) of a file of any kind."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        # File object: a path with a colon would be taken for an address.
        with path.open("rb") as file:
            batches = pq.read_table(file).to_batches()
        for number, value in enumerate((v for b in batches for v in row_values(b)), start=1):
            if isinstance(value, Exception):
                raise InputError(
                    f"row {number} of this benchmark cannot be read: {fault_of(value)}",
                    where=str(path),
                    remedy="leave out what holds no text: its questions would not be looked for",
                ) from value
            yield number, value
        return
    if ending == ".xlsx":
        yield from _said(workbook_records(path))
        return
    text = _decoded(path.read_bytes())
    if ending in (".csv", ".tsv"):
        yield from _table_records(text, path)
    elif ending in (".jsonl", ".ndjson", ".json"):
        yield from _json_records(text)
    elif ending in (".txt", ".md"):
        paragraphs = split_paragraphs(text)
        yield from enumerate((text[start:end] for start, end in paragraphs), start=1)


def _decoded(data: bytes) -> str:
    """Returns a file's text; a byte order mark says where it is UTF-16."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig", "replace")


def _table_records(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Yields a table's rows, numbered as ``eval.items`` does."""
    try:
        records = list(_said(table_records(text, path)))
    except InputError:
        records = list(_csv_records(text))
    yield from records


def _said(records: Iterable[Record]) -> Iterator[tuple[int, Any]]:
    """Yields (number, value); what is no record still says what it says."""
    for record in records:
        yield record.number, record.raw if record.fault else record.value


def _csv_records(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip() for name in next(rows, [])]
    for number, row in enumerate(rows, start=1):
        yield number, dict(zip(header, row, strict=False))


def _json_records(text: str) -> Iterator[tuple[int, Any]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, list):
        yield from enumerate(whole, start=1)
        return
    if isinstance(whole, dict):
        # Of several lists all are looked for, though none of them can be asked as it is.
        own = any(str(key).lower() in _QUESTIONS for key in whole)
        lists = [[whole]] if own else record_lists(whole)
        yield from enumerate((record for records in lists for record in records), start=1)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            yield number, json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            # A broken line still says what it says.
            yield number, line


def _item(benchmark: str, number: int, record: Any) -> BenchmarkItem | None:
    if not isinstance(record, dict):
        question = "\n".join(_texts(record))
        return BenchmarkItem(benchmark, str(number), question) if question.strip() else None
    by_name = {str(key).strip().lower(): value for key, value in record.items()}
    given = next((by_name[key] for key in _IDS if by_name.get(key) is not None), None)
    item_id = (str(given).strip() if given is not None else "") or str(number)
    asked = next((by_name[key] for key in _QUESTIONS if _texts(by_name.get(key))), None)
    if isinstance(asked, dict):
        by_name |= {str(key).lower(): value for key, value in asked.items()}
        asked = next((by_name[key] for key in ("stem", "text") if _texts(by_name.get(key))), asked)
    if asked is None:
        others = [
            text for key, value in by_name.items() if key not in _IDS for text in _texts(value)
        ]
        question = "\n".join(others)
        return BenchmarkItem(benchmark, item_id, question) if question.strip() else None
    choices = [t for key, v in by_name.items() if _CHOICES.fullmatch(key) for t in _choice_texts(v)]
    answers = [text for key in _ANSWERS for text in _texts(by_name.get(key))]
    return BenchmarkItem(benchmark, item_id, "\n".join(_texts(asked)), (*choices, *answers))


def _choice_texts(value: Any) -> list[str]:
    """Returns the choices' texts; of ``{"text": ..., "label": ...}`` only the texts."""
    if isinstance(value, dict) and "text" in value:
        return _texts(value["text"])
    if isinstance(value, list):
        return [text for part in value for text in _choice_texts(part)]
    return _texts(value)


def _texts(value: Any, depth: int = 0) -> list[str]:
    """Returns all texts inside a JSON value, in order."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if depth > _DEEP or not isinstance(value, list | tuple | dict):
        return []
    parts = value.values() if isinstance(value, dict) else value
    return [text for part in parts for text in _texts(part, depth + 1)]
