"""Document rows, and page spans that survive edits of the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from core.schema import DOCUMENT


@dataclass(frozen=True)
class Document:
    """A row of :data:`core.schema.DOCUMENT`; ``meta`` as a mapping."""

    doc_id: str
    source: str
    title: str | None = None
    text: str | None = None
    license: str | None = None
    created: date | None = None
    url: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    pages: list[dict[str, Any]] | None = None


def documents_table(documents: Sequence[Document]) -> pa.Table:
    """Returns the documents as one Arrow table."""
    rows = []
    for document in documents:
        row = {
            **vars(document),
            "meta": meta_json(document.meta),
        }
        rows.append({k: encodable(v) if isinstance(v, str) else v for k, v in row.items()})
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def meta_json(meta: dict[str, Any]) -> str:
    """Returns the column ``meta``: one JSON object, valid UTF-8."""
    # A file name that is not UTF-8 holds lone surrogates: escaped as in JSON, it stays the name.
    text = json.dumps(meta, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def encodable(text: str) -> str:
    """Returns the text with what UTF-8 cannot hold replaced."""
    # JSON may escape half of a surrogate pair, which no UTF-8 text can hold.
    return text.encode("utf-8", "replace").decode("utf-8")


def with_text(
    table: pa.Table,
    keep: Sequence[int],
    texts: Sequence[str],
    pages: Sequence[list[dict[str, Any]] | None],
) -> pa.Table:
    """Returns the rows ``keep`` of a table with their ``text`` and ``pages`` replaced."""
    # The type is named because an empty list has none.
    table = table.take(pa.array(keep, pa.int64()))
    for name, values in (("text", list(texts)), ("pages", list(pages))):
        position = DOCUMENT.get_field_index(name)
        column = pa.array(values, DOCUMENT.field(name).type)
        table = table.set_column(position, DOCUMENT.field(name), column)
    return table


def cut(
    text: str, pages: list[dict[str, Any]] | None, holes: Sequence[tuple[int, int]]
) -> tuple[str, list[dict[str, Any]] | None]:
    """Removes character ranges from a text and moves its page spans along.

    Args:
        text: the document's text.
        pages: its page spans, or None.
        holes: (start, end) to remove, ascending and not overlapping.

    Returns:
        The shorter text and its page spans; a page that lost all its text keeps an empty span.
    """
    parts, position = [], 0
    for start, end in holes:
        parts.append(text[position:start])
        position = end
    parts.append(text[position:])

    def moved(old: int) -> int:
        return old - sum(min(end, old) - start for start, end in holes if start < old)

    if pages is not None:
        pages = [
            {**p, "start_char": moved(p["start_char"]), "end_char": moved(p["end_char"])}
            for p in pages
        ]
    return "".join(parts), pages
