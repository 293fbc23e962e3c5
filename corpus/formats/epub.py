"""EPUB books: a part for each chapter, with the book's own metadata.

The reader is our own: the archive within limits (:mod:`corpus.formats.archive`), XML without
entities, chapters through pandoc. Chapters are where the table of contents says.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from core.rejects import Reason
from corpus.formats.archive import Contents, read_zip
from corpus.formats.epub_package import (
    EPUB_TYPE,
    Entry,
    book_facts,
    landmarks_of,
    manifest,
    member_text,
    package_path,
    refuse_encrypted,
    table_of_contents,
    wanted,
)
from corpus.formats.html_markdown import first_heading, render, under_title
from corpus.formats.html_tree import Element, local, parse_xhtml, parse_xml, words
from corpus.formats.name_set import name_set
from corpus.formats.plain import strip_gutenberg
from corpus.reading import Part, Reading, Unreadable

_MARK = "\ue000{}\ue001"
_MARKS = re.compile("[^\n]*\ue000(\\d+)\ue001[^\n]*")

_NOT_PROSE_TYPES = name_set(
    """cover titlepage halftitlepage title-page copyright-page copyright toc landmarks index
    colophon imprint dedication loi lot page-list seriespage frontispiece contributors
    errata other-credits"""
)
_NOT_PROSE_NAMES = re.compile(
    r"(?i)^(cover(page)?|half-?title.*|title-?page|copyright.*|(table of )?contents|toc|nav|index|"
    r"colophon|imprint|list of (figures|tables|illustrations)|also by.*|landmarks|"
    r"about the publisher|dedication|series page|full page image)$"
)
_GROUPS = re.compile(r"(?i)^(part|book|volume|unit|section)\b")
_SHORT_CHARS = 200


@dataclass
class _Page:
    """One file of the spine."""

    path: str
    root: Element
    kind: str | None


def read_epub(path: Path, split: bool) -> Reading:
    """Reads a book.

    Args:
        path: the file.
        split: a part for each chapter; otherwise one part.

    Raises:
        Unreadable: it is no EPUB, is encrypted or unsafe, or has no text.
    """
    contents = read_zip(path, wanted, whole=False)
    faults = list(contents.faults)
    refuse_encrypted(contents, path.name)
    opf_path = package_path(contents, path.name)
    opf = parse_xml(member_text(contents, opf_path), opf_path)
    items = manifest(opf, opf_path)
    toc, nav_path = table_of_contents(contents, opf, items)
    pages = _pages(
        contents, opf, items, nav_path, landmarks_of(contents, opf, opf_path, nav_path), faults
    )
    if not pages:
        raise Unreadable(Reason.BAD_MARKUP, f"{path.name}: no readable page")
    facts = book_facts(opf)
    pieces = _pieces(pages, _chapter_entries(toc, pages), faults)
    parts = _parts(pieces, split, facts["title"], faults)
    if not parts:
        raise Unreadable(Reason.EMPTY_TEXT, f"{path.name}: no text")
    return Reading(parts=parts, faults=faults, **facts)


def _pages(
    contents: Contents,
    opf: Element,
    items: dict[str, tuple[str, str, str]],
    nav_path: str | None,
    landmarks: dict[str, str],
    faults: list[Unreadable],
) -> list[_Page]:
    pages = []
    seen = set()
    for reference in opf.iter(etree.Element):
        if local(reference) != "itemref":
            continue
        item = items.get(reference.get("idref", ""))
        if item is None or item[0] in seen:
            continue
        seen.add(item[0])
        if "html" not in item[1] and not item[0].lower().endswith((".xhtml", ".html", ".htm")):
            continue
        try:
            root = parse_xhtml(member_text(contents, item[0]), item[0])
        except Unreadable as error:
            faults.append(error)
            continue
        kind = _kind(item, root, nav_path, landmarks.get(item[0]))
        pages.append(_Page(item[0], root, kind))
    return pages


def _kind(
    item: tuple[str, str, str], root: Element, nav_path: str | None, landmark: str | None
) -> str | None:
    """Returns what makes a page no prose, or None."""
    if item[0] == nav_path or "nav" in item[2].split():
        return "table of contents"
    types = [landmark or ""]
    body = root.find(".//body")
    if body is not None:
        children = [e for e in body if local(e) in ("section", "div", "nav")]
        for element in [body, *(children if len(children) == 1 else [])]:
            types += (element.get(EPUB_TYPE) or element.get("type") or "").split()
    found = next((t for t in types if t.lower() in _NOT_PROSE_TYPES), None)
    if found:
        return found
    stem = posixpath.splitext(posixpath.basename(item[0]))[0]
    text = words(body) if body is not None else ""
    title = root.find(".//title")
    heading = words(title) if title is not None else ""
    if len(text) < 5000 and (_NOT_PROSE_NAMES.match(stem) or _NOT_PROSE_NAMES.match(heading)):
        return stem
    return None if text else "no text"


def _chapter_entries(toc: list[Entry], pages: list[_Page]) -> list[Entry]:
    """Returns the entries that are chapters: the top level, or below where that groups them."""
    while len(toc) == 1 and len(toc[0].children) > 1:
        toc = toc[0].children
    flat: list[Entry] = []
    for entry in toc:
        flat.append(entry)
        if entry.children and _GROUPS.match(entry.title):
            flat += entry.children
    known = {page.path for page in pages}
    return [e for e in flat if e.path in known and e.title]


@dataclass
class _Piece:
    """Text between two starts of chapters."""

    title: str | None
    text: str
    kind: str | None
    path: str


def _pieces(pages: list[_Page], entries: list[Entry], faults: list[Unreadable]) -> list[_Piece]:
    pieces: list[_Piece] = []
    per_page = Counter(e.path for e in entries)
    for page in pages:
        starts = [e for e in entries if e.path == page.path]
        marked: dict[int, str] = {}
        if per_page[page.path] > 1:
            marked = _mark(page.root, starts)
        body = page.root.find(".//body")
        try:
            text = render(body if body is not None else page.root)
        except Unreadable as error:
            faults.append(Unreadable(error.reason, f"{page.path}: {error.detail}"))
            continue
        if marked:
            pieces += _cut(text, marked, page)
        elif starts:
            pieces.append(_Piece(starts[0].title, text, page.kind, page.path))
        else:
            pieces.append(_Piece(None, text, page.kind, page.path))
    if not entries:
        # No contents to go by: every page is a chapter of its own.
        for piece in pieces:
            piece.title = first_heading(piece.text) or ""
    return pieces


def _mark(root: Element, starts: list[Entry]) -> dict[int, str]:
    """Writes marks before the places that entries name; returns titles by mark."""
    by_id = {e.get("id") or e.get("name"): e for e in root.iter(etree.Element)}
    marked = {}
    body = root.find(".//body")
    for number, entry in enumerate(starts):
        target = (
            by_id.get(entry.fragment)
            if entry.fragment
            else (body[0] if body is not None and len(body) else None)
        )
        if target is None:
            continue
        while local(target) not in _BLOCK_STARTS and target.getparent() is not None:
            parent = target.getparent()
            assert parent is not None
            if parent is body:
                break
            target = parent
        if local(target) == "body" or target.getparent() is None:
            continue
        mark = etree.Element("p")
        mark.text = _MARK.format(number)
        target.addprevious(mark)
        marked[number] = entry.title
    return marked


_BLOCK_STARTS = name_set("p div section article h1 h2 h3 h4 h5 h6 blockquote table ul ol pre")


def _cut(text: str, marked: dict[int, str], page: _Page) -> list[_Piece]:
    parts = _MARKS.split(text)
    pieces = [_Piece(None, parts[0], page.kind, page.path)] if parts[0].strip() else []
    for number, body in zip(parts[1::2], parts[2::2], strict=True):
        pieces.append(_Piece(marked.get(int(number)), body, page.kind, page.path))
    return pieces


def _parts(
    pieces: list[_Piece], split: bool, book: str | None, faults: list[Unreadable]
) -> list[Part]:
    groups: list[tuple[str | None, list[str]]] = []
    for piece in pieces:
        text = strip_gutenberg(piece.text).strip()
        name = piece.kind
        if name is None and piece.title and _NOT_PROSE_NAMES.match(piece.title.strip()):
            name = piece.title
        if name is None and not groups and piece.title is None and len(text) < _SHORT_CHARS:
            name = "front matter"
        if name is not None:
            if text:
                faults.append(Unreadable(Reason.NOT_PROSE, f"{piece.path}: {name}", text))
        elif piece.title is not None or not groups:
            groups.append((piece.title or None, [text]))
        else:
            groups[-1][1].append(text)
    parts = []
    for title, texts in groups:
        text = "\n\n".join(t for t in texts if t)
        if _bare(text):
            parts.append(
                Part(title or first_heading(text), under_title(text, title).strip() + "\n")
            )
    if split or not parts:
        return parts
    whole = "\n".join(p.text or "" for p in parts)
    return [Part(None, whole if len(parts) == 1 or not book else f"# {book}\n\n{whole}")]


def _bare(text: str) -> bool:
    """Tells whether text has more than headings."""
    return any(line.strip() and not line.startswith("#") for line in text.split("\n"))
