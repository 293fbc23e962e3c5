"""What an EPUB says of itself: its files, order, table of contents and metadata."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from lxml import etree

from core.rejects import Reason
from corpus.formats.archive import Contents
from corpus.formats.encoding import decode
from corpus.formats.html import read_date
from corpus.formats.html_tree import Element, local, parse_xhtml, parse_xml, words
from corpus.reading import Unreadable

_TEXT_TYPES = (".xhtml", ".html", ".htm", ".xml", ".opf", ".ncx", ".txt")
_FONT_OBFUSCATION = frozenset(
    ["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"]
)
EPUB_TYPE = "{http://www.idpf.org/2007/ops}type"


@dataclass
class Entry:
    """A line of the table of contents."""

    title: str
    path: str
    fragment: str
    children: list[Entry] = field(default_factory=list)


def wanted(name: str) -> bool:
    """Tells which members of the archive are read."""
    return name.lower().endswith(_TEXT_TYPES) or name.startswith("META-INF/")


def member_text(contents: Contents, path: str) -> str:
    """Returns a member's text; raises :class:`Unreadable` where it is missing."""
    data = contents.files.get(path)
    if data is None:
        raise Unreadable(Reason.MISSING_PART, f"{path} is not in the archive")
    declared = re.search(rb"encoding\s*=\s*[\"']([\w.:-]{2,40})", data[:200])
    return decode(data, path, declared[1].decode("ascii") if declared else None)[0]


def refuse_encrypted(contents: Contents, name: str) -> None:
    """Raises :class:`Unreadable` for a book under digital rights management."""
    if "META-INF/encryption.xml" not in contents.files:
        return
    root = parse_xml(member_text(contents, "META-INF/encryption.xml"), "encryption.xml")
    for method in root.iter(etree.Element):
        if local(method) == "EncryptionMethod" and method.get("Algorithm") not in _FONT_OBFUSCATION:
            raise Unreadable(Reason.UNREADABLE_FILE, f"{name}: encrypted")


def package_path(contents: Contents, name: str) -> str:
    """Returns where the package document is; raises :class:`Unreadable` if there is none."""
    if "META-INF/container.xml" in contents.files:
        root = parse_xml(member_text(contents, "META-INF/container.xml"), "container.xml")
        for element in root.iter(etree.Element):
            target = element.get("full-path")
            if local(element) == "rootfile" and target and target in contents.files:
                return target
    found = sorted(n for n in contents.files if n.lower().endswith(".opf"))
    if not found:
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: no package document")
    return found[0]


def _resolve(base: str, href: str) -> tuple[str, str]:
    address, _, fragment = href.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(address)))
    return (base if not address else target), unquote(fragment)


def manifest(opf: Element, opf_path: str) -> dict[str, tuple[str, str, str]]:
    """Returns (path, media type, properties) by id."""
    return {
        e.get("id", ""): (
            _resolve(opf_path, e.get("href", ""))[0],
            e.get("media-type", ""),
            e.get("properties", ""),
        )
        for e in opf.iter(etree.Element)
        if local(e) == "item"
    }


def table_of_contents(
    contents: Contents, opf: Element, items: dict[str, tuple[str, str, str]]
) -> tuple[list[Entry], str | None]:
    """Returns the entries of the table of contents, and the path of the page that has it."""
    nav = next((p for p, _, props in items.values() if "nav" in props.split()), None)
    if nav is not None and nav in contents.files:
        try:
            entries = _nav_entries(parse_xhtml(member_text(contents, nav), nav), nav)
        except Unreadable:
            entries = []
        if entries:
            return entries, nav
    ncx = next((p for p, kind, _ in items.values() if "ncx" in kind), None)
    if ncx is None or ncx not in contents.files:
        return [], nav
    try:
        root = parse_xml(member_text(contents, ncx), ncx)
    except Unreadable:
        return [], nav
    maps = [e for e in root.iter(etree.Element) if local(e) == "navMap"]
    return (_ncx_entries(maps[0], ncx, 0) if maps else []), nav


def _ncx_entries(parent: Element, base: str, depth: int) -> list[Entry]:
    entries = []
    for point in parent:
        if local(point) != "navPoint":
            continue
        label = next((words(e) for e in point if local(e) == "navLabel"), "")
        source = next((e.get("src", "") for e in point if local(e) == "content"), "")
        children = _ncx_entries(point, base, depth + 1) if depth < 5 else []
        entries.append(Entry(label, *_resolve(base, source), children))
    return entries


def _nav_entries(root: Element, base: str) -> list[Entry]:
    navs = [e for e in root.iter("nav")]
    chosen = next(
        (n for n in navs if "toc" in (n.get(EPUB_TYPE) or n.get("type") or "").split()), None
    )
    chosen = chosen if chosen is not None else (navs[0] if len(navs) == 1 else None)
    lists = [] if chosen is None else [e for e in chosen.iter("ol", "ul")]
    return _list_entries(lists[0], base, 0) if lists else []


def _list_entries(element: Element, base: str, depth: int) -> list[Entry]:
    entries = []
    for item in element:
        if local(item) != "li":
            continue
        link = next((e for e in item if local(e) in ("a", "span")), None)
        inner = next((e for e in item if local(e) in ("ol", "ul")), None)
        children = _list_entries(inner, base, depth + 1) if inner is not None and depth < 5 else []
        if link is not None:
            target = _resolve(base, link.get("href", "")) if link.get("href") else ("", "")
            entries.append(Entry(words(link), *target, children))
        else:
            entries += children
    return entries


def landmarks_of(
    contents: Contents, opf: Element, opf_path: str, nav_path: str | None
) -> dict[str, str]:
    """Returns what the book says a file is: cover, title page and so on."""
    kinds = {}
    for element in opf.iter(etree.Element):
        if local(element) == "reference" and element.get("href"):
            kinds[_resolve(opf_path, element.get("href", ""))[0]] = element.get("type", "")
    if nav_path is not None and nav_path in contents.files:
        try:
            root = parse_xhtml(member_text(contents, nav_path), nav_path)
        except Unreadable:
            return kinds
        for nav in root.iter("nav"):
            if "landmarks" in (nav.get(EPUB_TYPE) or nav.get("type") or ""):
                for link in nav.iter("a"):
                    kind = (link.get(EPUB_TYPE) or link.get("type") or "").split()
                    target, fragment = _resolve(nav_path, link.get("href", ""))
                    if kind and not fragment:
                        kinds.setdefault(target, kind[0])
    return kinds


def book_facts(opf: Element) -> dict[str, Any]:
    """Returns what the package says of the book, as fields of a reading."""
    values: dict[str, list[str]] = {}
    roles = {
        (e.get("refines") or "").lstrip("#"): words(e)
        for e in opf.iter(etree.Element)
        if local(e) == "meta" and e.get("property") == "role"
    }
    authors = []
    for element in opf.iter(etree.Element):
        if isinstance(element.tag, str) and "purl.org/dc/elements" in element.tag:
            text = words(element)
            if text:
                values.setdefault(local(element), []).append(text)
            role = element.get("{http://www.idpf.org/2007/opf}role") or roles.get(
                element.get("id", "")
            )
            if text and local(element) == "creator" and role in (None, "", "aut"):
                authors.append(text)

    def first(name: str) -> str | None:
        return values[name][0] if name in values else None

    source = next((v for v in values.get("source", []) if v.startswith("http")), None)
    meta = {k: first(k) for k in ("publisher", "identifier") if first(k)}
    return {
        "title": first("title"),
        "authors": authors,
        "language": first("language"),
        "license": first("rights"),
        "created": read_date(first("date")),
        "url": source,
        "meta": meta,
    }
