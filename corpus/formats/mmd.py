r"""Nougat's ``.mmd`` output: Markdown with ``\(…\)`` math and marks for missing pages.

Math becomes ``$…$`` and ``$$…$$`` as everywhere else. Tables stay as Nougat writes them: LaTeX
``tabular`` holds spans that a pipe table cannot. ``[MISSING_PAGE_EMPTY:n]`` means page n had no
text, ``[MISSING_PAGE_FAIL:n]`` that Nougat failed on it, ``[MISSING_PAGE_POST]`` that its output
was thrown away as a repetition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.rejects import Reason
from corpus.formats.archive import read_bytes
from corpus.formats.encoding import decode
from corpus.reading import Part, Reading, Unreadable

_MISSING = re.compile(r"\[MISSING_PAGE(?:_(?P<kind>[A-Z]{1,20}))?(?::(?P<page>\d{1,7}))?\]")
_INLINE = re.compile(r"\\\((?P<tex>(?:(?!\\\(|\\\)|\n\n).){1,4000}?)\\\)", re.S)
_DISPLAY = re.compile(r"\\\[(?P<tex>(?:(?!\\\[|\\\]).){1,12000}?)\\\]", re.S)
_CODE = re.compile(r"^```.*?^```", re.S | re.M)


@dataclass(frozen=True)
class MmdText:
    """Nougat output without its marks.

    Args:
        text: Markdown.
        missing: (kind, page or None) of every mark, kind ``empty``, ``fail``, ``post`` or
            ``unknown``; pages counted from 1.
        breaks: (character position in ``text``, page or None) where a mark stood.
    """

    text: str
    missing: list[tuple[str, int | None]]
    breaks: list[tuple[int, int | None]]


def read_mmd_text(text: str) -> MmdText:
    """Returns Nougat output as Markdown of this project, its marks taken out."""
    missing: list[tuple[str, int | None]] = []
    breaks: list[tuple[int, int | None]] = []
    parts: list[str] = []
    position = length = 0
    for match in _MISSING.finditer(text):
        piece = _math(text[position : match.start()]).rstrip()
        if not length:
            piece = piece.lstrip()
        elif piece:
            piece = "\n\n" + piece.lstrip()
        parts.append(piece)
        length += len(piece)
        page = int(match["page"]) if match["page"] else None
        missing.append(((match["kind"] or "unknown").lower(), page))
        breaks.append((length, page))
        position = match.end()
    last = _math(text[position:]).strip()
    if last and length:
        last = "\n\n" + last
    whole = "".join(parts) + last
    return MmdText(whole + "\n" if whole else "", missing, breaks)


def _math(text: str) -> str:
    parts, position = [], 0
    for code in _CODE.finditer(text):
        parts.append(_convert(text[position : code.start()]))
        parts.append(code[0])
        position = code.end()
    parts.append(_convert(text[position:]))
    return "".join(parts)


def _convert(text: str) -> str:
    if "\\(" in text:
        text = _INLINE.sub(lambda m: f"${m['tex'].strip()}$", text)
    if "\\[" in text:
        # A number is part of the page and not of the formula.
        text = _DISPLAY.sub(lambda m: f"$${m['tex'].strip()}$$", text)
    return text


def read_mmd(path: Path, split: bool) -> Reading:
    """Reads an ``.mmd`` file.

    Args:
        path: the file.
        split: a part for each first-level heading after the title.

    Raises:
        Unreadable: it is no text, or has no text but marks.
    """
    raw, encoding = decode(read_bytes(path), path.name)
    read = read_mmd_text(raw)
    meta: dict[str, Any] = {} if encoding == "utf-8" else {"encoding": encoding}
    if read.missing:
        kinds = [kind for kind, _ in read.missing]
        meta["missing_pages"] = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        pages = sorted({page for _, page in read.missing if page is not None})
        if pages:
            meta["missing_page_numbers"] = pages[:1000]
    if not read.text.strip():
        raise Unreadable(Reason.EMPTY_TEXT, f"{path.name}: no text, {len(read.missing)} marks")
    heading = re.match(r"# ([^\n]+)", read.text)
    title = heading[1].strip() if heading else None
    pieces = _chapters(read.text) if split else []
    if len(pieces) > 1:
        parts = [Part(_heading(p), p.strip() + "\n") for p in pieces]
    else:
        parts = [Part(None, read.text)]
    return Reading(parts=parts, title=title, meta=meta)


_CHAPTER = re.compile(r"^#{1,2} ((?:Chapter|Appendix)\s+[0-9A-Z]{1,5})\b[^\n]*$", re.M)


def _chapters(text: str) -> list[str]:
    """Returns the text cut at chapter headings, but not at running heads, which repeat them."""
    starts: list[int] = []
    last = ""
    for match in _CHAPTER.finditer(text):
        if match[1] != last:
            starts.append(match.start())
        last = match[1]
    cuts = [0, *starts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(cuts)]
    return [p for p in pieces if p.strip()]


def _heading(text: str) -> str | None:
    match = re.match(r"#{1,2} ([^\n]+)", text)
    return match[1].strip() if match else None
