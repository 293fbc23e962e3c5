"""Files that are one document each: Markdown, plain text, PDF."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from core.front_matter import split_front_matter
from core.recipe.corpus import FilesSource
from core.rejects import Reason, Reject
from corpus.documents import Document

ENDINGS: dict[str, tuple[str, ...]] = {
    "markdown": (".md", ".markdown", ".mmd"),
    "text": (".txt",),
    "pdf": (".pdf",),
}


def read_file(
    path: Path, name: str, sha256: str, source: FilesSource
) -> tuple[Document | None, Reject | None]:
    """Reads one file: a document (a PDF's text is still to come), or a reject.

    Args:
        path: where it is.
        name: its path relative to the recipe's root.
        sha256: hash of its bytes.
        source: the recipe section.
    """
    doc_id = f"{source.name}:{sha256[:16]}"
    meta: dict[str, Any] = {"file": name, "sha256": sha256}
    if source.kind == "pdf":
        title = path.stem
        return Document(doc_id, source.name, title, license=source.license, meta=meta), None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raw = path.read_bytes()[max(0, error.start - 200) : error.start + 200]
        detail = f"{name}: byte {error.start}: {error.reason}"
        return None, Reject(doc_id, Reason.INVALID_UTF8, detail, repr(raw))
    except OSError as error:
        return None, Reject(doc_id, Reason.UNREADABLE_FILE, f"{name}: {error.strerror}")
    front, body = split_front_matter(text) if source.kind == "markdown" else ({}, text)
    if not body.strip():
        return None, Reject(doc_id, Reason.EMPTY_TEXT, name)
    day = front.get("created")
    document = Document(
        doc_id=doc_id,
        source=source.name,
        title=_value(front, "title") or path.stem,
        text=body,
        license=_value(front, "license") or source.license,
        created=day.date() if isinstance(day, datetime) else day if isinstance(day, date) else None,
        url=_value(front, "url"),
        meta=meta,
    )
    return document, None


def _value(front: dict[str, Any], key: str) -> str | None:
    """Returns a plain value as text: a nested one is no title or licence."""
    value = front.get(key)
    return str(value) if isinstance(value, str | int | float) and value else None
