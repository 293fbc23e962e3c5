r"""Sections of a Markdown text: which headings stand above each paragraph.

Headings are lines of ``#`` (also without a blank line around them) and underlined first lines of a
paragraph. What stands in code, equations and tables is never one: :mod:`core.paragraphs` keeps
those whole. PDFs and OCR lose marks of headings, so a paragraph that says nothing but one of the
names a caller is looking for ("REFERENCES") counts as a heading too, below all others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from core.paragraphs import Span, split_paragraphs

BARE_LEVEL = 7
"""Level of a name that stands alone: below the six of Markdown."""

MAX_HEADING_CHARS = 300
"""A longer line is a paragraph that OCR took for a heading."""

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+([^\n]*?))??(?:[ \t]+#*)?[ \t]*(?:\n|\Z)")
_ATX_LINE = re.compile(r"^ {0,3}#{1,6}(?:[ \t]|$)", re.MULTILINE)
_SETEXT = re.compile(r" {0,3}(?![|>#*+-])([^\n|]*\w[^\n|]*)\n {0,3}(={3,}|-{3,})[ \t]*(?:\n|\Z)")
_BLOCK = re.compile(r"^[ \t]*(?:`{3}|~{3}|\$\$|\\\[|\\begin\{|<(?:pre|table)\b)", re.M | re.I)
_MARKS = re.compile(r"^[\s*_#]+|[\s*_#:.]+$")
_NUMBER = re.compile(r"^(?:\d+(?:\.\d+)*[.):]?|[ivxlc]+[.):]|[a-z][.):])\s+")
_JOINT = re.compile(r"\s*(?:,|/|;|\band\b)\s*")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Block:
    """A heading or a paragraph of a section.

    Args:
        start_char: where it starts.
        end_char: where it ends, without the blank lines after it.
        heading: whether it is the section's heading.
    """

    start_char: int
    end_char: int
    heading: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with the paragraphs up to the next heading of any level.

    Args:
        path: the headings above its paragraphs, outermost first, its own last; empty before the
            first heading.
        blocks: in order; the first one is the heading, if there is one.
    """

    path: tuple[str, ...]
    blocks: tuple[Block, ...]

    @property
    def start_char(self) -> int:
        """Where its first block starts."""
        return self.blocks[0].start_char

    @property
    def end_char(self) -> int:
        """Where its last block ends."""
        return self.blocks[-1].end_char


def split_sections(text: str, bare_names: Collection[str] = ()) -> list[Section]:
    """Cuts a Markdown text into sections; together they hold every paragraph.

    Args:
        text: Markdown.
        bare_names: names as :func:`section_name` gives them; a paragraph that is nothing else is a
            heading.
    """
    sections: list[Section] = []
    above: list[tuple[int, str]] = []
    blocks: list[Block] = []
    for block, level, title in _blocks(text, bare_names):
        if block.heading:
            if blocks:
                sections.append(Section(tuple(t for _, t in above), tuple(blocks)))
            blocks = []
            above = [(upper, t) for upper, t in above if upper < level]
            above.append((level, title))
        blocks.append(block)
    if blocks:
        sections.append(Section(tuple(t for _, t in above), tuple(blocks)))
    return sections


def section_name(title: str) -> str:
    """Returns a heading as names are compared: lower case, without number, marks and final colon.

    ``**6. ACKNOWLEDGEMENTS:**`` and ``Acknowledgements`` are one name.
    """
    name = _MARKS.sub("", _SPACES.sub(" ", unicodedata.normalize("NFKC", title)))
    name = _NUMBER.sub("", name.casefold().replace("\u2019", "'").replace("&", "and"))
    return _MARKS.sub("", name)


def is_named(title: str, names: Collection[str]) -> bool:
    """Tells whether a heading is one of some names, or a list of several ("A, B and C")."""
    name = section_name(title)
    if not name:
        return False
    return name in names or all(part in names for part in _JOINT.split(name))


def _blocks(text: str, bare_names: Collection[str]) -> Iterator[tuple[Block, int, str]]:
    """Yields every block with its heading's level and title; 0 and nothing for a paragraph."""
    longest = max(map(len, bare_names), default=0) + 40
    for span in split_paragraphs(text):
        for start, end in _at_headings(text, span):
            found = _heading(text, start, end)
            if found is None:
                whole = text[start:end]
                if bare_names and len(whole) <= longest and section_name(whole) in bare_names:
                    yield Block(start, end, True), BARE_LEVEL, _clean(whole)
                else:
                    yield Block(start, end), 0, ""
                continue
            level, title, after = found
            yield Block(start, after, True), level, title
            body = after + len(text[after:end]) - len(text[after:end].lstrip("\n"))
            if body < end:
                yield Block(body, end), 0, ""


def _at_headings(text: str, span: Span) -> Iterator[Span]:
    """Parts a paragraph before the headings inside it; one that holds a block is left whole."""
    start, end = span
    if "#" in text[start:end] and not _BLOCK.search(text, start, end):
        for line in _ATX_LINE.finditer(text, start + 1, end):
            if line.start() > start and text[line.start() - 1] == "\n":
                yield start, line.start() - 1
                start = line.start()
    yield start, end


def _heading(text: str, start: int, end: int) -> tuple[int, str, int] | None:
    """Returns (level, title, end of the heading) of a paragraph that opens with one."""
    line_end = text.find("\n", start, end)
    if (end if line_end < 0 else line_end) - start > MAX_HEADING_CHARS:
        return None
    if atx := _ATX.match(text, start, end):
        return len(atx[1]), _clean(atx[2] or ""), _line_end(text, atx)
    setext = _SETEXT.match(text, start, end)
    if setext is None:
        return None
    return (1 if setext[2][0] == "=" else 2), _clean(setext[1]), _line_end(text, setext)


def _line_end(text: str, found: re.Match[str]) -> int:
    return found.end() - (text[found.end() - 1] == "\n")


def _clean(title: str) -> str:
    return _SPACES.sub(" ", title).strip(" *_#")
