"""Catalog rows: what there is to read, before anything is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from core.schema import ENTRY
from corpus.documents import encodable, meta_json


@dataclass(frozen=True)
class Entry:
    """A row of :data:`core.schema.ENTRY`; ``meta`` as a mapping."""

    doc_id: str
    source: str
    number: int
    kind: str
    file: str
    fallback: str | None = None
    split: bool = False
    sha256: str | None = None
    expected: int = 1
    title: str | None = None
    license: str | None = None
    created: date | None = None
    url: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def entries_table(entries: Sequence[Entry]) -> pa.Table:
    """Returns the entries as one Arrow table."""
    rows = [
        {
            name: encodable(value) if isinstance(value, str) and name not in _FILES else value
            for name, value in {
                **vars(entry),
                "meta": meta_json(entry.meta),
                "file": _file_json(entry.file),
                "fallback": None if entry.fallback is None else _file_json(entry.fallback),
            }.items()
        }
        for entry in entries
    ]
    return pa.Table.from_pylist(rows, schema=ENTRY)


def read_entries(table: pa.Table) -> list[Entry]:
    """Returns the rows of a catalog table."""
    entries = []
    for row in table.to_pylist():
        row["meta"] = json.loads(row["meta"])
        for name in _FILES:
            row[name] = None if row[name] is None else json.loads(row[name])
        entries.append(Entry(**row))
    return entries


_FILES = ("file", "fallback")


def _file_json(name: str) -> str:
    # A file name that is not UTF-8 holds lone surrogates: JSON escapes them and gives them back.
    return json.dumps(name)
