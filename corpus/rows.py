"""Documents in tables: what a file of rows holds, and its rows as documents."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from core.recipe.sources import RowsSource
from core.rejects import Reject
from core.storage.inputs import locate
from corpus.documents import Document
from corpus.entries import Entry
from corpus.formats.html import read_date
from corpus.text_rows import Columns, check_columns, expected_rows, file_spans, read_span

_SPAN_BYTES = 16 << 20
"""Some thousands of papers' abstracts, some hundreds of papers."""
_FACTS = ("title", "license", "created", "url")
_LONGEST_FACT = 2000


def check_rows(source: RowsSource, number: int, path: Path, name: str) -> None:
    """Checks that a file has the text column, where that can be known without reading it.

    Raises:
        InputError: it has not.
    """
    check_columns(path, _columns(source, number), name)


def row_entries(
    source: RowsSource, number: int, name: str, sha256: str, root: Path
) -> Iterator[Entry]:
    """Yields an entry for each stretch of a file's rows.

    Args:
        source: the recipe section.
        number: its place in the recipe.
        name: the file.
        sha256: its content's.
        root: folder that file names start from.
    """
    path = locate(root, name)
    for start, end in file_spans(path, _SPAN_BYTES):
        yield Entry(
            doc_id=f"{source.name}:{sha256[:16]}:{start}",
            source=source.name,
            number=number,
            kind=source.kind,
            file=name,
            sha256=sha256,
            expected=expected_rows(path, start, end),
            license=source.license,
            # What is read of a row: another choice makes other documents of the same stretch.
            meta={
                "start": start,
                "end": end,
                "columns": [source.text_column, *source.meta_columns],
            },
        )


def read_rows(entry: Entry, source: RowsSource, root: Path) -> Iterator[Document | Reject]:
    """Yields a stretch's documents, and a reject for each row that is none.

    A document's id is its file's hash and its place there, so no two rows have the same; texts
    that are there twice are found by ``corpus.dedup``.
    """
    path = locate(root, entry.file)
    start, end = entry.meta["start"], entry.meta["end"]
    columns = _columns(source, entry.number)
    known = entry.doc_id.rpartition(":")[0]
    for record in read_span(path, start, end, columns, entry.file):
        if isinstance(record, Reject):
            yield record
            continue
        facts = {name: _plain(value) for name, value in record.facts.items()}
        kept = {name: facts[name] for name in source.meta_columns if name in facts}
        yield Document(
            doc_id=f"{known}:{record.at}",
            source=source.name,
            title=_text(facts.get("title")),
            text=record.text.decode(),
            license=_text(facts.get("license")) or entry.license,
            created=_day(record.facts.get("created")),
            url=_text(facts.get("url")),
            meta={**kept, "file": entry.file, "sha256": entry.sha256},
        )


def _columns(source: RowsSource, number: int) -> Columns:
    facts = tuple(dict.fromkeys([*_FACTS, *source.meta_columns]))
    return Columns(source.text_column, facts, source.name, f"corpus.sources.{number}.text_column")


def _plain(value: Any) -> Any:
    """Returns what JSON can hold of a cell; of anything else its text."""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list | dict):
        value = json.dumps(value, default=str, ensure_ascii=False)
    return str(value)[:_LONGEST_FACT]


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    return read_date(str(value)) if isinstance(value, str | int) else None
