"""A document as something that people name: its title, date, identifier and first author.

Only what the row says is used, nothing is guessed:

* The date is ``created``: arXiv's day of the first version, in GMT. Month and day are as good as
  the year there, so all three are asked for - always as "submitted to arXiv". A journal's date is
  another one, and an arXiv number may name the month after, as it is given out a day or two later.
* ``Smith et al. (2015)`` goes by the journal's year where there is one, so a paper whose journal
  reference names another year than arXiv is not named like that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from synth.metadata.names import Authors, clean_title, read_authors

COLUMNS = ["doc_id", "source", "title", "created", "meta"]
"""What is read of a document."""

MIN_TITLE_CHARS = 4
MAX_TITLE_CHARS = 300

_ARXIV = "arxiv:"
_WIKIPEDIA = "wikipedia:"
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Paper:
    """What is known of a document besides its text.

    Args:
        doc_id: the document's.
        kind: ``paper`` (arXiv), ``article`` (Wikipedia), ``chapter`` or ``text``.
        facts: what can be said of it, by the names that templates use: ``title``, ``id``, ``year``,
            ``month`` (``April 2007``), ``day`` (``2 April 2007``), ``first_author``, ``cite``
            (``Smith et al.``), ``by`` (the same after "by"), ``cite_year`` (the year to cite it by)
            and, of a chapter, ``book``.
            What is not known is not there.
    """

    doc_id: str
    kind: str
    facts: dict[str, str] = field(default_factory=dict)


def read_papers(documents: pa.Table) -> Iterator[Paper]:
    """Yields what is known of each document, in order.

    Args:
        documents: columns :data:`COLUMNS` of :data:`core.schema.DOCUMENT`.
    """
    for batch in documents.select(COLUMNS).to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield paper_of(row["doc_id"], row["title"], row["created"], _meta(row["meta"]))


def paper_of(doc_id: str, title: str | None, created: date | None, meta: dict[str, Any]) -> Paper:
    """Returns what is known of one document.

    Args:
        doc_id: ``arxiv:0704.0001`` and the like.
        title: as the record has it.
        created: day of the first version.
        meta: the document's, with ``authors`` and ``journal_ref`` of arXiv or ``book``.
    """
    facts: dict[str, str] = {}
    cleaned = clean_title(title)
    if MIN_TITLE_CHARS <= len(cleaned) <= MAX_TITLE_CHARS:
        facts["title"] = cleaned
    if doc_id.startswith(_ARXIV):
        return Paper(doc_id, "paper", facts | _arxiv_facts(doc_id, created, meta))
    if doc_id.startswith(_WIKIPEDIA):
        return Paper(doc_id, "article", facts)
    book = clean_title(meta.get("book")) if isinstance(meta.get("book"), str) else ""
    if not book:
        return Paper(doc_id, "text", facts)
    authors = _authors(meta)
    return Paper(
        doc_id, "chapter", facts | {"book": book} | ({"by": authors.by} if authors else {})
    )


def _arxiv_facts(doc_id: str, created: date | None, meta: dict[str, Any]) -> dict[str, str]:
    facts = {"id": doc_id.removeprefix(_ARXIV)}
    authors = _authors(meta)
    if authors is not None:
        facts |= {"first_author": authors.first, "cite": authors.cite, "by": authors.by}
    if created is not None:
        month = f"{_MONTHS[created.month - 1]} {created.year}"
        facts |= {"year": str(created.year), "month": month, "day": f"{created.day} {month}"}
        years = _YEAR.findall(str(meta.get("journal_ref") or ""))
        if not years or str(created.year) in years:
            facts["cite_year"] = str(created.year)
    return facts


def _authors(meta: dict[str, Any]) -> Authors | None:
    value = meta.get("authors")
    return read_authors(value) if isinstance(value, str | list) else None


def _meta(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
