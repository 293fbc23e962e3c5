"""A page of HTML to Markdown: its main content, without what surrounds it."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from lxml import etree

from core.rejects import Reason
from corpus.formats.archive import read_bytes
from corpus.formats.encoding import decode
from corpus.formats.html_markdown import first_heading, render, under_title
from corpus.formats.html_math import tex_element
from corpus.formats.html_tree import Element, drop, local, parse_html, unwrap, words
from corpus.formats.name_set import name_set
from corpus.reading import Part, Reading, Unreadable

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{2,40})", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"\A\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{2,40})")
_MAX_BYTES = 50_000_000

_FURNITURE = frozenset(["nav", "footer", "aside", "dialog", "menu"])
_ROLES = frozenset(["navigation", "banner", "contentinfo", "search", "complementary", "dialog"])
_CLASSES = name_set(
    """nav navbar navigation menu sidebar breadcrumb breadcrumbs cookie cookies advert
    advertisement ads share sharing social footer site-header site-footer page-header
    masthead related newsletter popup modal toc tableofcontents skip-link skip-to-content
    comments comment-list pagination pager mw-editsection mw-jump-link navbox catlinks
    printfooter reflist references noprint sidebar-left sidebar-right headerlink
    ltx_page_navbar ltx_page_footer ltx_bibliography ltx_toc ltx_ERROR sphinxsidebar
    related-pages toolbar screen-reader-text sr-only visually-hidden"""
)


def read_html(path: Path, split: bool) -> Reading:
    """Reads a page.

    Args:
        path: the file.
        split: a part for each first-level heading, where there are several.

    Raises:
        Unreadable: it is no text, or nothing is left of it.
    """
    data = read_bytes(path)
    if len(data) > _MAX_BYTES:
        raise Unreadable(Reason.BAD_MARKUP, f"{path.name}: {len(data)} bytes")
    declared = _XML_CHARSET.search(data[:200]) or _META_CHARSET.search(data[:4096])
    text, encoding = decode(data, path.name, declared[1].decode("ascii") if declared else None)
    root = parse_html(text, path.name)
    facts = _facts(root)
    meta: dict[str, Any] = {"encoding": encoding}
    title, authors = facts.pop("title"), facts.pop("authors")
    content = main_content(root)
    markdown = render(content).strip("\n")
    if not markdown.strip():
        raise Unreadable(Reason.EMPTY_TEXT, f"{path.name}: no text")
    pieces = re.split(r"\n(?=# )", markdown) if split else []
    if len(pieces) > 1:
        parts = [Part(first_heading(p) or title, p.strip("\n") + "\n") for p in pieces if p.strip()]
    else:
        parts = [Part(None, under_title(markdown, title).strip("\n") + "\n")]
    return Reading(
        parts=parts,
        title=title or first_heading(markdown),
        authors=authors,
        meta=meta,
        **facts,
    )


def main_content(root: Element) -> Element:
    """Returns the element with a page's content, cleaned of what surrounds it."""
    body = root.find(".//body")
    body = root if body is None else body
    if _loads_mathjax(root):
        _delimited_math(body)
    for element in list(body.iter(etree.Element)):
        if _is_furniture(element, body):
            drop(element)
        elif local(element) == "header":
            _headings_only(element)
    for path in (".//main", './/*[@role="main"]', ".//article"):
        found = body.findall(path)
        # A list of teasers is several articles; one is the page.
        if len(found) == 1 and len(words(found[0])) * 2 > len(words(body)):
            return found[0]
    return body


def _is_furniture(element: Element, body: Element) -> bool:
    if element is body or local(element) in ("main", "article", "html"):
        return False
    if local(element) in _FURNITURE or element.get("role") in _ROLES:
        return True
    if element.get("hidden") is not None:
        return True
    if element.get("aria-hidden") == "true" and local(element) in ("div", "section", "span", "ul"):
        return "katex-html" not in (element.get("class") or "")
    names = {*(element.get("class") or "").lower().split(), (element.get("id") or "").lower()}
    return bool(names & _CLASSES) and local(element) not in ("h1", "body")


def _headings_only(header: Element) -> None:
    headings = [e for e in header.iter(etree.Element) if re.fullmatch("h[1-6]", local(e))]
    if not headings:
        drop(header)
        return
    for child in list(header):
        header.remove(child)
    header.text = None
    for heading in headings:
        heading.tail = None
        header.append(heading)
    unwrap(header)


def _loads_mathjax(root: Element) -> bool:
    for script in root.iter("script"):
        source = f"{script.get('src') or ''} {(script.text or '')[:2000]}".lower()
        if "mathjax" in source or "katex" in source:
            return True
    return False


_DELIMITED = re.compile(r"\\\((.{1,3000}?)\\\)|\\\[(.{1,6000}?)\\\]|\$\$([^$]{1,6000})\$\$", re.S)


def _delimited_math(body: Element) -> None:
    """Turns the TeX that a script would typeset in the browser into formulas."""
    for element in list(body.iter(etree.Element)):
        if local(element) in ("script", "style", "pre", "code", "textarea"):
            continue
        if element.text and _may_hold(element.text):
            parts = _split_math(element.text)
            element.text = str(parts[0])
            _insert(element, 0, parts[1:])
        parent = element.getparent()
        if element is not body and parent is not None and element.tail and _may_hold(element.tail):
            parts = _split_math(element.tail)
            position = parent.index(element) + 1
            element.tail = str(parts[0])
            _insert(parent, position, parts[1:])


def _may_hold(text: str) -> bool:
    return "\\(" in text or "\\[" in text or "$$" in text


def _split_math(text: str) -> list[str | Element]:
    parts: list[str | Element] = []
    position = 0
    for match in _DELIMITED.finditer(text):
        parts.append(text[position : match.start()])
        tex = match[1] or match[2] or match[3]
        parts.append(tex_element(tex, display=match[1] is None))
        position = match.end()
    return [*parts, text[position:]]


def _insert(parent: Element, position: int, parts: list[str | Element]) -> None:
    last: Element | None = None
    for part in parts:
        if isinstance(part, str):
            if last is not None:
                last.tail = part
        else:
            parent.insert(position, part)
            position += 1
            last = part


def _facts(root: Element) -> dict[str, Any]:
    metas: dict[str, list[str]] = {}
    for element in root.iter("meta"):
        key = element.get("name") or element.get("property") or element.get("itemprop") or ""
        value = (element.get("content") or "").strip()
        if value:
            metas.setdefault(key.lower(), []).append(value)

    def first(*names: str) -> str | None:
        return next((metas[n][0] for n in names if n in metas), None)

    heading = root.find(".//title")
    title = first("citation_title", "dc.title", "dcterms.title", "og:title")
    authors = metas.get("citation_author") or metas.get("dc.creator") or metas.get("author") or []
    link = root.find('.//link[@rel="canonical"]')
    return {
        "title": title or (words(heading) if heading is not None else "") or None,
        "authors": [a.strip() for a in authors if a.strip()],
        "license": first("dc.rights", "dcterms.license", "license", "dc.rights.license")
        or _license_link(root),
        "created": read_date(
            first("citation_publication_date", "citation_date", "article:published_time",
                  "dc.date", "dcterms.date", "dcterms.created", "date")
        ),
        "url": first("citation_public_url", "og:url")
        or (link.get("href") if link is not None else None),
        "language": root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang"),
    }  # fmt: skip


def _license_link(root: Element) -> str | None:
    for element in root.iter("a", "link"):
        if "license" in (element.get("rel") or "").lower().split() and element.get("href"):
            return element.get("href")
    return None


def read_date(text: str | None) -> date | None:
    """Returns the day that a text such as ``2014-04-24T13:00:00Z`` or ``2014`` names."""
    match = re.match(r"\s*(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?", text or "")
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        return None
