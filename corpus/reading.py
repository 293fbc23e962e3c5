"""What reading a file gives: parts that become documents, and faults that become rejects.

Every reader of a file format returns a :class:`Reading` or raises :class:`Unreadable`. A book has a
part per chapter; anything else has one part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from core.rejects import Reason


class Unreadable(Exception):
    """A file, or a part of one, that gives no document; carries the reject reason."""

    def __init__(self, reason: Reason, detail: str, text: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        # It crosses process borders; the default would lose the reason.
        return (Unreadable, (self.reason, self.detail, self.text))


@dataclass(frozen=True)
class Part:
    """One chapter, or the whole file.

    Args:
        title: its own title; None: none of its own.
        text: Markdown; None: pages of a PDF or folder of images, which OCR reads later.
        pages: page spans of ``text`` (:data:`core.schema.PAGE`), where pages are known.
        meta: further facts as JSON values. For a PDF's chapter ``first_page`` and ``last_page``,
            counted from 1, both included.
    """

    title: str | None
    text: str | None
    pages: list[dict[str, Any]] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """A file's parts in reading order, and what the file says of itself.

    Args:
        parts: chapters.
        title: of the whole.
        authors: names as written.
        license: as stated inside the file.
        created: day of publication.
        url: where the file says it comes from.
        language: language code.
        meta: further facts as JSON values, given to every part's document.
        faults: parts that could not be read.
    """

    parts: list[Part]
    title: str | None = None
    authors: list[str] = field(default_factory=list)
    license: str | None = None
    created: date | None = None
    url: str | None = None
    language: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    faults: list[Unreadable] = field(default_factory=list)
