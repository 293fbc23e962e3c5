"""arXiv metadata: the Kaggle snapshot, filters, and where a paper's PDF lies.

AstroMLab 3, section II.1: preprints of 2007-2024 with primary or cross-listed category astro-ph or
gr-qc; Annual Review of Astronomy and Astrophysics papers left out, as the benchmark was drawn from
them.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator
from datetime import date
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.recipe.corpus import ArxivSource
from core.rejects import Reason, Reject
from corpus.documents import Document

_NEW_ID = re.compile(r"(\d{4})\.\d{4,5}", re.ASCII)
_OLD_ID = re.compile(r"([a-z-]+)(?:\.[A-Z]{2})?/((\d{4})\d{3})", re.ASCII)


def line_blocks(path: Path, lines_per_block: int) -> Iterator[tuple[int, int]]:
    """Yields the byte ranges of blocks of lines. Streams; holds one line.

    Raises:
        InputError: the file is a JSON array instead of JSON lines.
    """
    with path.open("rb") as f:
        if f.read(64).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[":
            raise InputError(
                "this is one JSON array, not JSON lines",
                where=str(path),
                remedy="turn it into lines first, for example: jq -c '.[]' FILE > FILE.jsonl",
            )
        f.seek(0)
        start = position = 0
        for count, line in enumerate(f, 1):
            position += len(line)
            if count % lines_per_block == 0:
                yield start, position
                start = position
        if position > start:
            yield start, position


def read_records(path: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yields (byte offset, line) for the lines of a byte range; blank lines skipped."""
    with path.open("rb") as f:
        f.seek(start)
        position = start
        while position < end:
            line = f.readline()
            if line.strip():
                yield position, line
            position += len(line)


def read_paper(
    line: bytes, place: str, source: ArxivSource, root: Path
) -> tuple[Document | None, Reject | None]:
    """Reads one metadata line: a document whose text is still to come, or a reject.

    Args:
        line: one JSON object.
        place: ``file@offset``, for rejects without an id.
        source: the recipe section.
        root: folder that the recipe's paths start from.
    """
    try:
        record = json.loads(line)
    except UnicodeDecodeError as error:
        return None, Reject(place, Reason.INVALID_UTF8, str(error), repr(line[:500]))
    except (ValueError, RecursionError) as error:
        return None, Reject(place, Reason.MALFORMED_RECORD, str(error), _shown(line))
    identifier = record.get("id") if isinstance(record, dict) else None
    if not isinstance(identifier, str) or not _is_id(identifier):
        detail = f"not an arXiv id: {identifier!r}"
        return None, Reject(place, Reason.MALFORMED_RECORD, detail, _shown(line))
    doc_id = f"arxiv:{identifier}"
    title = " ".join(str(record.get("title") or "").split())
    fault = _filter(record, source)
    if fault is not None:
        return None, Reject(doc_id, fault[0], fault[1], title)
    pdf = find_pdf(root / source.pdfs, identifier)
    if pdf is None:
        return None, Reject(doc_id, Reason.MISSING_PDF, f"no PDF below {source.pdfs}", title)
    document = Document(
        doc_id=doc_id,
        source=source.name,
        title=title,
        license=str(record["license"]) if record.get("license") else None,
        created=created(record),
        url=f"https://arxiv.org/abs/{identifier}",
        meta={
            "authors": _text(record, "authors"),
            "categories": _text(record, "categories"),
            "doi": _text(record, "doi"),
            "journal_ref": _text(record, "journal-ref"),
            "file": os.path.relpath(pdf, root),
        },
    )
    return document, None


def _shown(line: bytes) -> str:
    return line[:2000].decode("utf-8", "replace")


def _text(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


def _is_id(identifier: str) -> bool:
    return bool(_NEW_ID.fullmatch(identifier) or _OLD_ID.fullmatch(identifier))


def _filter(record: dict[str, Any], source: ArxivSource) -> tuple[Reason, str] | None:
    categories = str(record.get("categories") or "").split()
    if not any(
        c == want or c.startswith(f"{want}.") for c in categories for want in source.categories
    ):
        return Reason.EXCLUDED_CATEGORY, f"categories: {' '.join(categories)}"
    day = created(record)
    if source.created_from or source.created_until:
        if day is None:
            return Reason.OUTSIDE_DATE_WINDOW, "no date of the first version"
        if day < (source.created_from or day) or day > (source.created_until or day):
            return Reason.OUTSIDE_DATE_WINDOW, f"created {day}"
    for field, pattern in (
        ("doi", source.exclude_doi),
        ("journal-ref", source.exclude_journal_ref),
    ):
        value = str(record.get(field) or "")
        if pattern and re.search(pattern, value):
            return Reason.EXCLUDED_REVIEW, f"{field} '{value}' matches {pattern}"
    return None


def created(record: dict[str, Any]) -> date | None:
    """Returns the day of the first version (never ``update_date``), or None."""
    try:
        return parsedate_to_datetime(record["versions"][0]["created"]).date()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def find_pdf(folder: Path, identifier: str) -> Path | None:
    """Returns the newest version of a paper's PDF in any of the usual layouts, or None.

    ``0704/0704.0001v2.pdf``, ``0704.0001v2.pdf``; for old ids ``astro-ph/9901001v1.pdf``,
    ``astro-ph/pdf/9901/9901001.pdf``, ``9901/astro-ph9901001.pdf`` and flat.
    """
    old = _OLD_ID.fullmatch(identifier)
    if old:
        archive, number, month = old.groups()
        stems = [number, f"{archive}{number}", f"{archive}_{number}"]
        places = ["", month, archive, f"{archive}/{month}", f"{archive}/pdf/{month}"]
    else:
        stems = [identifier]
        places = [identifier.split(".")[0], ""]
    found: list[tuple[int, Path]] = []
    for place in places:
        by_stem = _pdfs_in(folder / place)
        for stem in stems:
            # A bare number is a paper of this archive only inside the archive's own folder.
            if old and stem == old[2] and old[1] not in place:
                continue
            found += by_stem.get(stem, [])
    return max(found, default=(0, None))[1]


@lru_cache(maxsize=256)
def _pdfs_in(folder: Path) -> dict[str, list[tuple[int, Path]]]:
    """Lists a folder's PDFs as stem -> [(version, path)]; each folder is read once a process."""
    listed: dict[str, list[tuple[int, Path]]] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return listed
    for name in names:
        match = re.fullmatch(r"(.+?)(?:v(\d+))?\.pdf", name, re.IGNORECASE)
        if match:
            version = int(match[2] or 0)
            listed.setdefault(match[1], []).append((version, folder / name))
    return listed
