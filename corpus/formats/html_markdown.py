"""A cleaned tree of HTML as Markdown, and headings of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from core.rejects import Reason
from corpus.formats.html_math import plain_math
from corpus.formats.html_tables import plain_table
from corpus.formats.html_tree import Element, drop, is_block, local, unwrap, words
from corpus.formats.name_set import name_set
from corpus.formats.pandoc import to_markdown
from corpus.reading import Unreadable

_MAX_DEPTH = 250
_DROPPED = name_set(
    """style noscript iframe object embed template svg canvas audio video form button input
    select textarea link meta base map area img picture source track param head title"""
)
_UNWRAPPED = name_set("a span font small big center u tt_ abbr acronym bdi bdo ins mark time")
_KEPT_ATTRIBUTES = frozenset(["colspan", "rowspan", "start"])


def render(root: Element, *, shift_headings: int = 0) -> str:
    """Returns a tree as Markdown: images dropped, links as their text, tables made plain.

    The tree is changed.

    Raises:
        Unreadable: pandoc refuses it, or it is too deep.
    """
    _check_depth(root)
    plain_math(root)
    for element in list(root.iter(etree.Element)):
        _simplify(element)
    for element in list(root.iter("div", "section", "blockquote")):
        _join_verse(element)
    for table in reversed(list(root.iter("table"))):
        plain_table(table)
    for element in root.iter(etree.Element):
        if element.tag != "script" and not str(element.tag).startswith(("{", "m")):
            for name in list(element.attrib):
                if name not in _KEPT_ATTRIBUTES:
                    del element.attrib[name]
    markup = etree.tostring(root, encoding="unicode", method="html")
    text = to_markdown(markup, "html", shift_headings=shift_headings)
    return text if text.strip() else ""


def _check_depth(root: Element) -> None:
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > _MAX_DEPTH:
            raise Unreadable(Reason.BAD_MARKUP, "nested too deep")


def _simplify(element: Element) -> None:
    name = local(element)
    if name == "img" and 0 < len((element.get("alt") or "").strip()) <= 2:
        # A picture of an initial letter: its alt text is part of the word.
        element.tail = element.get("alt", "").strip() + (element.tail or "")
        drop(element)
    elif name in _DROPPED or (name == "script" and "math/tex" not in element.get("type", "")):
        drop(element)
    elif name in _UNWRAPPED:
        unwrap(element)
    elif name in ("dt", "dd"):
        _definition(element, name)
    elif name == "dl":
        element.tag = "div"
    elif name == "hr":
        drop(element)


def _definition(element: Element, name: str) -> None:
    element.tag = "p" if name == "dt" or not any(is_block(c) for c in element) else "div"
    if name == "dt":
        bold = etree.SubElement(element, "strong")
        bold.text, element.text = element.text, None
        for child in list(element):
            if child is not bold:
                bold.append(child)


_VERSE_CHARS = 70
_VERSE_LINES = 3


def _join_verse(parent: Element) -> None:
    """Makes one paragraph of short lines that are an element each, as poems are marked up."""
    lines = list(parent)
    if len(lines) < _VERSE_LINES or (parent.text or "").strip():
        return
    for line in lines:
        if line.tag != "div" or any(is_block(c) for c in line) or (line.tail or "").strip():
            return
        if len(words(line)) > _VERSE_CHARS:
            return
    for line in lines[:-1]:
        etree.SubElement(line, "br")
    paragraph = etree.Element("p")
    for line in lines:
        line.tail = None
        paragraph.append(line)
        line.tag = "span"
    parent.append(paragraph)
    for line in list(paragraph):
        unwrap(line)


_HEADING = re.compile(r"^(#{1,6}) (.*)$")


def first_heading(text: str) -> str | None:
    """Returns the heading that Markdown opens with, as plain text."""
    match = re.match(r"\s*#{1,6} (.+)", text)
    return re.sub(r"[*`]|\\(?=\W)", "", match[1]).strip() if match else None


def under_title(text: str, title: str | None) -> str:
    """Returns Markdown with one first-level heading, its own or the title, on top.

    Args:
        text: Markdown.
        title: what to write above it where it does not open with a heading.
    """
    levels = [len(m[1]) for m in map(_HEADING.match, _prose_lines(text)) if m]
    own = _HEADING.match(text.lstrip().split("\n", 1)[0])
    if own is not None and levels.count(len(own[1])) >= 1 and len(own[1]) == min(levels):
        return _shifted(text.lstrip(), 1 - len(own[1]), keep_first=True)
    if title is None:
        return text
    # Its own headings stand below the title.
    shift = 2 - min(levels) if levels else 0
    return f"# {title}\n\n{_shifted(text, shift)}"


def _prose_lines(text: str) -> Iterator[str]:
    fenced = False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield line


def _shifted(text: str, shift: int, keep_first: bool = False) -> str:
    lines, fenced, first = [], False, keep_first
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        match = None if fenced else _HEADING.match(line)
        if match is not None:
            level = min(6, max(1 if first else 1 + keep_first, len(match[1]) + shift))
            first = False
            line = f"{'#' * level} {match[2]}"
        lines.append(line)
    return "\n".join(lines)
