"""arXiv papers: one metadata record to a catalog entry, or to a reject with the rule it met.

AstroMLab 3, section II.1: preprints of 2007-2024 with primary or cross-listed category astro-ph or
gr-qc; Annual Review of Astronomy and Astrophysics papers left out, as the benchmark was drawn from
them.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from datetime import date
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.recipe.sources import ArxivSource
from core.rejects import Reason, Reject
from core.storage.inputs import locate, name_of
from core.storage.urls import is_url
from corpus.arxiv_files import LATEX_ENDINGS, PDF_ENDINGS, find_paper, is_id
from corpus.entries import Entry

_VERSION = re.compile(r"v\d+\Z", re.ASCII)
_WITHDRAWN = re.compile(
    r"(?i)\b(?:paper|article|manuscript|submission|preprint|work)\s+(?:has\s+been|is|was)\s+"
    r"withdrawn\b|\bwithdrawn\s+by\s+(?:the\s+)?authors?\b|^\W*withdrawn\b"
)


class ArxivReader:
    """Reads the records of one arXiv source."""

    def __init__(self, source: ArxivSource, number: int, root: Path) -> None:
        """Reads the exclusion lists.

        Args:
            source: the recipe section.
            number: its place in ``corpus.sources``.
            root: folder that the recipe's paths start from.

        Raises:
            InputError: a list of excluded ids cannot be read.
        """
        self._source = source
        self._number = number
        self._root = root
        self._excluded = excluded_ids([(n, locate(root, n)) for n in source.exclude_ids])

    def read(self, line: bytes, place: str) -> Entry | Reject:
        """Returns a record's catalog entry, or its reject.

        Args:
            line: one JSON object.
            place: ``file@position``, for rejects without an id.
        """
        try:
            record = json.loads(line)
        except UnicodeDecodeError as error:
            return Reject(place, Reason.INVALID_UTF8, str(error), repr(line[:500]))
        except (ValueError, RecursionError) as error:
            return Reject(place, Reason.MALFORMED_RECORD, str(error), _shown(line))
        identifier = record.get("id") if isinstance(record, dict) else None
        identifier = _VERSION.sub("", identifier) if isinstance(identifier, str) else identifier
        if not isinstance(identifier, str) or not is_id(identifier):
            detail = f"not an arXiv id: {identifier!r}"
            return Reject(place, Reason.MALFORMED_RECORD, detail, _shown(line))
        doc_id = f"arxiv:{identifier}"
        title = " ".join(str(record.get("title") or "").split())
        fault = self._filter(record, identifier)
        if fault is not None:
            return Reject(doc_id, fault[0], fault[1], title)
        source = self._source
        latex = self._find(source.latex, identifier, LATEX_ENDINGS)
        pdf = self._find(source.pdfs, identifier, PDF_ENDINGS)
        file = latex or pdf
        if file is None:
            return Reject(doc_id, Reason.MISSING_PDF, self._looked_for(), title)
        return Entry(
            doc_id=doc_id,
            source=source.name,
            number=self._number,
            kind="latex" if latex else "pdf",
            file=file,
            fallback=pdf if latex else None,
            title=title,
            license=_text(record, "license"),
            created=created(record),
            url=f"https://arxiv.org/abs/{identifier}",
            meta=_meta(record),
        )

    def _find(self, folder: str | None, identifier: str, endings: tuple[str, ...]) -> str | None:
        if folder is None:
            return None
        path = find_paper(locate(self._root, folder), identifier, endings)
        if path is not None and is_url(folder):
            return name_of(self._root, path)
        return os.path.relpath(path, self._root) if path else None

    def _looked_for(self) -> str:
        pdfs, latex = self._source.pdfs, self._source.latex
        looked = [f"no readable PDF below {pdfs}"] * bool(pdfs)
        looked += [f"no readable LaTeX source below {latex}"] * bool(latex)
        return ", ".join(looked)

    def _filter(self, record: dict[str, Any], identifier: str) -> tuple[Reason, str] | None:
        """Returns the reason and the rule that leave a paper out, or None."""
        source = self._source
        categories = _categories(record)
        counted = categories if source.cross_listed else categories[:1]
        if not any(
            c == want or c.startswith(f"{want}.") for c in counted for want in source.categories
        ):
            return Reason.EXCLUDED_CATEGORY, f"categories: {' '.join(categories)}"
        day = created(record)
        if source.created_from or source.created_until:
            if day is None:
                return Reason.OUTSIDE_DATE_WINDOW, "no date of the first version"
            if day < (source.created_from or day) or day > (source.created_until or day):
                return Reason.OUTSIDE_DATE_WINDOW, f"created {day}"
        if identifier in self._excluded:
            return Reason.EXCLUDED_ID, f"listed in {self._excluded[identifier]}"
        for field, pattern in (
            ("doi", source.exclude_doi),
            ("journal-ref", source.exclude_journal_ref),
        ):
            value = str(record.get(field) or "")
            if pattern and re.search(pattern, value):
                return Reason.EXCLUDED_REVIEW, f"{field} '{value}' matches {pattern}"
        return _license_fault(_text(record, "license"), source.licenses)


def _license_fault(url: str | None, allowed: list[str] | None) -> tuple[Reason, str] | None:
    if allowed is None:
        return None
    if url is None:
        kept = "none" in allowed
    else:
        kept = any(fnmatch.fnmatchcase(url, pattern) for pattern in allowed)
    return None if kept else (Reason.EXCLUDED_LICENSE, f"license: {url or 'none stated'}")


def excluded_ids(files: list[tuple[str, Path]]) -> dict[str, str]:
    """Returns arXiv id to the name of the list that holds it; versions are ignored.

    Raises:
        InputError: a list cannot be read, or has a line that is no id.
    """
    found: dict[str, str] = {}
    for name, path in files:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read this list of ids: {error}",
                where=name,
                remedy="a text file with one arXiv id on a line, such as 0704.0001",
            ) from error
        for number, line in enumerate(lines, 1):
            identifier = _VERSION.sub("", line.partition("#")[0].strip().removeprefix("arXiv:"))
            if identifier and not is_id(identifier):
                raise InputError(
                    f"this is not an arXiv id: '{identifier}'",
                    where=f"{name}, line {number}",
                    remedy="one id on a line, such as 0704.0001 or astro-ph/9901001",
                )
            if identifier:
                found.setdefault(identifier, name)
    return found


def _shown(line: bytes) -> str:
    return line[:2000].decode("utf-8", "replace")


def _text(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _categories(record: dict[str, Any]) -> list[str]:
    """Returns the categories, the primary one first: words of a text, or a list of them."""
    value = record.get("categories")
    texts = value if isinstance(value, list) else [value]
    return [word for text in texts if isinstance(text, str) for word in text.split()]


def _meta(record: dict[str, Any]) -> dict[str, Any]:
    abstract = _text(record, "abstract")
    meta: dict[str, Any] = {
        "authors": _text(record, "authors"),
        "categories": " ".join(_categories(record)) or None,
        "doi": _text(record, "doi"),
        "journal_ref": _text(record, "journal-ref"),
        "abstract": " ".join(abstract.split()) if abstract else None,
    }
    # Flagged, not dropped: "withdrawn" is also said of a version that was put back.
    notes = (_text(record, "comments") or "", abstract or "")
    if any("withdrawn" in note.lower() and _WITHDRAWN.search(note) for note in notes):
        meta["withdrawn"] = True
    return meta


def created(record: dict[str, Any]) -> date | None:
    """Returns the day of the first version (never ``update_date``), or None."""
    try:
        return _day(record["versions"][0]["created"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def _day(text: str) -> date:
    return parsedate_to_datetime(text).date()
