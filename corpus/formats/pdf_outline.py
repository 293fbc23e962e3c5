"""Chapters of a PDF book, from its outline. The pages' text is read later, by OCR.

Parts have ``text=None`` and, in ``meta``, ``first_page`` and ``last_page``, both counted from 1 and
included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium

from core.rejects import Reason
from corpus.reading import Part, Reading, Unreadable

_MAX_ENTRIES = 20_000
_MAX_DEPTH = 4
_MAX_CHAPTERS = 400
_GROUP = re.compile(r"(?i)^(part|book|volume|unit)\b")
_FRONT = re.compile(
    r"(?i)^(front ?cover|cover|half[- ]?title|title( page)?|copyright.*|dedication|"
    r"(table of )?contents|brief contents|toc|list of (figures|tables|illustrations|symbols).*|"
    r"frontispiece|imprint|colophon|front ?matter|blank page)$"
)
_BACK = re.compile(
    r"(?i)^((subject |author |name |general )?ind(ex|ices)|bibliography|references|back ?cover|"
    r"works cited|credits|image credits|photo credits|answer key|back ?matter|endorsements)$"
)


@dataclass(frozen=True)
class _Entry:
    level: int
    title: str
    page: int


def read_pdf_book(path: Path, split: bool) -> Reading:
    """Finds the chapters of a PDF.

    Args:
        path: the file.
        split: by chapters; otherwise one part of all pages.

    Raises:
        Unreadable: PDFium cannot open it, or it has no page.
    """
    try:
        document = pdfium.PdfDocument(path)
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{path.name}: {error.strerror}") from error
    except Exception as error:  # PdfiumError, and what its loading of odd files raises
        encrypted = "password" in str(error).lower()
        reason = Reason.PDF_ENCRYPTED if encrypted else Reason.PDF_CORRUPT
        raise Unreadable(reason, f"{path.name}: {error}") from error
    try:
        pages = len(document)
        if pages < 1:
            raise Unreadable(Reason.PDF_CORRUPT, f"{path.name}: no pages")
        info = _metadata(document)
        entries = _entries(document, pages) if split else []
    finally:
        document.close()
    chapters = _chapters(entries)
    if len(chapters) < 2:
        parts = [Part(None, None, meta={"first_page": 1, "last_page": pages})]
    else:
        parts = _parts(chapters, pages)
    author = info.get("Author", "").strip()
    return Reading(
        parts=parts,
        title=info.get("Title", "").strip() or None,
        authors=[a.strip() for a in re.split(r";|\band\b|,(?=\s*\w+\s+\w)", author) if a.strip()],
        meta={"pages": pages},
    )


def _metadata(document: Any) -> dict[str, str]:
    try:
        return {k: v for k, v in document.get_metadata_dict().items() if isinstance(v, str)}
    except Exception:  # damaged information dictionaries raise many kinds
        return {}


def _entries(document: Any, pages: int) -> list[_Entry]:
    """Returns the outline's lines that name a page, pages counted from 1."""
    found: list[_Entry] = []
    try:
        for number, mark in enumerate(document.get_toc(max_depth=_MAX_DEPTH)):
            if number >= _MAX_ENTRIES:
                break
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            title = " ".join((mark.get_title() or "").replace("\0", "").split())
            if title and index is not None and 0 <= index < pages:
                found.append(_Entry(int(mark.level), title[:300], int(index) + 1))
    except Exception:  # an outline with a damaged entry: what was read so far counts
        return found
    return found


def _chapters(entries: list[_Entry]) -> list[_Entry]:
    """Returns the entries at which chapters begin, by page."""
    if not entries:
        return []
    level = min(e.level for e in entries)
    top = [e for e in entries if e.level == level]
    while len(top) <= 2 and any(e.level == level + 1 for e in entries):
        # One root over everything: the book's own title.
        if len([e for e in entries if e.level == level + 1]) < 2:
            break
        level += 1
        top = [e for e in entries if e.level <= level]
    groups = [e for e in top if _GROUP.match(e.title)]
    if groups and any(e.level == level + 1 for e in entries):
        top = _below_groups(entries, level)
    ordered: list[_Entry] = []
    for entry in top:
        # Page order must rise; an entry that points back is a cross-reference.
        if not ordered or entry.page > ordered[-1].page:
            ordered.append(entry)
        elif entry.page == ordered[-1].page and _GROUP.match(ordered[-1].title):
            ordered[-1] = entry
    return ordered if len(ordered) <= _MAX_CHAPTERS else []


def _below_groups(entries: list[_Entry], level: int) -> list[_Entry]:
    chosen, in_group = [], False
    for entry in entries:
        if entry.level <= level:
            in_group = bool(_GROUP.match(entry.title))
            chosen.append(entry)
        elif entry.level == level + 1 and in_group:
            chosen.append(entry)
    return chosen


def _parts(chapters: list[_Entry], pages: int) -> list[Part]:
    parts = []
    if chapters[0].page > 1:
        meta = {"first_page": 1, "last_page": chapters[0].page - 1, "matter": "front"}
        parts.append(Part(None, None, meta=meta))
    for number, entry in enumerate(chapters):
        last = chapters[number + 1].page - 1 if number + 1 < len(chapters) else pages
        meta = {"first_page": entry.page, "last_page": max(last, entry.page)}
        matter = (
            "front" if _FRONT.match(entry.title) else "back" if _BACK.match(entry.title) else None
        )
        if matter is not None:
            meta["matter"] = matter
        parts.append(Part(entry.title, None, meta=meta))
    return parts
