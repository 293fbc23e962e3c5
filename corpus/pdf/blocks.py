"""Lines of a page become blocks: paragraphs, headings, captions, tables, equations, notes.

A block ends where the next line stands apart, has another size or weight, is indented, or is in
another column. What a block is, its words, its place and its print tell together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from corpus.pdf.line import Line
from corpus.pdf.style import Style

_GAP_RATIO = 1.25
"""A line further below the last than this many pitches starts a block."""
_INDENT_EM = 0.8
_SIZE_RATIO = 1.06
"""Sizes that differ by more are different print."""
BULLETS = "•◦▪‣∙●■⁃"
LIST_START = re.compile(
    rf"[{BULLETS}]|(?:\(?(?:\d{{1,2}}|[ivx]{{1,4}}|[a-h])\)|\d{{1,2}}\.|[–—-])\s\S"
)
CAPTION = re.compile(
    r"(?:Extended Data |Supplementary )?(?:Figure|Fig|FIG|FIGURE|Table|TABLE|Tab|Plate|Scheme|"
    r"Algorithm|Listing)\b\.?\s{0,2}(?:[A-Z]{0,2}\.?\d{1,3}[a-z]?|[IVXLC]{1,6})"
    r"(?:\s?([.:|,—–-])|\s|\Z)"
)
_LEADER_DOTS = 6
_LEADERS = re.compile(r"(?:\s?\.){6}")
_CELL_CHARS = 40
_NUMERIC = re.compile(
    r"(?=\D{0,8}\d)[-+−±∼~<>≤≥≃≈=×·()\[\],.:/%\d]+[a-z*†‡]{0,2}|[.…·—–-]+|nan|n/a"
)
# Spaces of a loosely set line of prose may be as wide as the gaps of a table.
_LOOSE = re.compile(r"(?:[^\W\d_]{2,30}[,;:.]?[ \t]){7}")
_NOTE_MARKS = frozenset("0123456789*†‡§¶∗abcdefgh")
_NOTE_TEXT = re.compile(r"(?:\d{1,2}|[*†‡§¶∗]{1,2}|[a-h])[ \t]?(?:[A-Z]|http)")
SECTION = re.compile(
    r"(?P<number>(?:\d{1,2}(?:\.\d{1,2}){0,3}|[IVX]{1,5}|[A-H](?:\.\d{1,2}){0,3})[.:]?"
    r"|(?:APPENDIX|Appendix|Chapter|CHAPTER|Section|SECTION)(?:\s[A-Z\d]{1,3})?[.:]?)"
    r"\s+(?P<title>[A-Z\"“‘(α-ωΑ-Ω\d].*)",
    re.DOTALL,
)
_NAMED_CHARS = 24
_NAMED = re.compile(
    r"(?:abstract|a\s?b\s?s\s?t\s?r\s?a\s?c\s?t|introduction|references|bibliography|"
    r"literature cited|acknowledge?ments?|conclusions?|summary|discussion|results|methods|"
    r"data availability|appendix|contents|table of contents|supporting information)[.:]?",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Block:
    """Lines that belong together.

    ``kind`` is one of text, list, heading, caption, table, equation, note, figure. ``jumped``: it
    starts another column or region than the block before it. ``gap``: space above it in pitches.
    """

    lines: list[Line]
    kind: str = "text"
    level: int = 0
    jumped: bool = False
    gap: float = 0.0
    text: str = ""
    left: float = 0.0
    right: float = 0.0
    bold: bool = False
    hanging: bool = field(default=False, repr=False)
    is_row: bool = field(default=False, repr=False)

    @property
    def size(self) -> float:
        """Size of its first line."""
        return self.lines[0].size

    def add(self, line: Line) -> None:
        """Appends a line."""
        self.lines.append(line)
        if line.left < self.left:
            self.left = line.left
        if line.right > self.right:
            self.right = line.right
        if self.bold:
            self.bold = line.bold


def started(line: Line, jumped: bool, gap: float = 0.0) -> Block:
    """Returns a block of one line."""
    return Block([line], "text", 0, jumped, gap, "", line.left, line.right, line.bold)


def split_blocks(lines: Sequence[Line], style: Style) -> list[Block]:
    """Cuts a page's lines, in reading order, into blocks."""
    if not lines:
        return []
    last = lines[0]
    block = started(last, True)
    blocks = [block]
    block.is_row = last_row = is_table_row(last.text)
    last_dots = has_leaders(last.text)
    pitch_size = pitch = 0.0
    for line in lines[1:]:
        size = last.size if last.size > line.size else line.size
        if size != pitch_size:
            pitch_size, pitch = size, style.pitch(size)
        drop = last.y - line.y
        text = line.text
        row = is_table_row(text)
        dots = text.count(".") >= _LEADER_DOTS and has_leaders(text)
        jumped = drop < -0.5 * line.size or line.left > block.right + 2
        apart = jumped or row != last_row or dots or last_dots or line.turn != last.turn
        if apart or _ends_block(block, last, line, drop, pitch):
            block = started(line, jumped, drop / pitch if pitch else 0.0)
            block.is_row = row
            blocks.append(block)
        else:
            block.add(line)
        last, last_row, last_dots = line, row, dots
    return blocks


def is_named(text: str) -> bool:
    """Says whether a line is a heading by its words alone, such as Abstract or References."""
    return len(text) <= _NAMED_CHARS and _NAMED.fullmatch(text) is not None


def has_leaders(text: str) -> bool:
    """Says whether a line has dots that lead to a page number in a table of contents."""
    return ("..." in text or ". . ." in text) and _LEADERS.search(text) is not None


def _ends_block(block: Block, last: Line, line: Line, drop: float, pitch: float) -> bool:
    text = line.text
    if text[0] in BULLETS:
        return True
    if line.size > _SIZE_RATIO * last.size or last.size > _SIZE_RATIO * line.size:
        return not (_is_scrap(line) or _is_scrap(last)) or drop > _GAP_RATIO * pitch
    cut = last.text[-1] in "\ufffe\x02"
    inside = cut or (text[0].islower() and last.text[-1] not in ".:?!")
    if drop > (1.6 if inside else _GAP_RATIO) * pitch:
        return True
    if cut:
        return False
    if _is_heading_end(block, last, line, drop > 1.12 * pitch):
        return True
    if text[0] in _NOTE_MARKS and line.start_size < 0.85 * line.size and _NOTE_TEXT.match(text):
        return True
    if block.bold != line.bold and (line.font.bold or block.bold):
        # Bold alone may be one line of a paragraph; a heading stands apart or is short.
        ended = last.text[-1] in ".:?!" and line.right < last.right - 4.0 * line.size
        short = last.right < line.right - 2.0 * line.size
        if drop > 1.1 * pitch or ended or (short and (block.bold or last.text[-1] in ".:?!")):
            return True
    if (
        text[0] in "FTPSAEL"
        and (match := CAPTION.match(text))
        and (drop > 1.12 * pitch or match.group(1) in (".", ":", "|"))
        and (line.font.bold or drop > 1.12 * pitch or last.text[-1] in ".:")
    ):
        return True
    if (
        not text[0].isalpha()
        and LIST_START.match(text)
        and (last.text[-1] in ".:;," or line.left < last.left - 1)
    ):
        return True
    return _is_indented(block, last, line)


def _is_heading_end(block: Block, last: Line, line: Line, loose: bool) -> bool:
    """Says whether a line of the same size follows a heading, or starts one."""
    if len(block.lines) == 1 and is_named(last.text):
        return True
    if (
        loose
        and last.font is last.last_font
        and line.font is line.last_font
        and (line.font is not last.font and not (line.font.math or last.font.math))
    ):
        return True
    ends = last.text[-1] in ".,;" or last.right > line.right - 2.0 * line.size
    if ends and not loose:
        return False
    section = SECTION.match(block.lines[0].text)
    if loose and section and (next_one := SECTION.match(line.text)):
        return _number(next_one.group("number")) > _number(section.group("number"))
    if ends:
        return False
    if section and len(block.lines) == 1 and last.right < line.right - 4.0 * line.size:
        return True
    capitals = len(last.text) > 8 and last.text.isupper() and block.lines[0].text.isupper()
    if capitals and len(block.lines) <= 3 and not line.text.isupper():
        return True
    # A centred line above text: it starts to the right of it and ends before it, as no line of a
    # paragraph does.
    shift = 1.0 if len(block.lines) == 1 else 2.5
    return len(block.lines) <= 3 and last.left > line.left + shift * line.size


def _number(text: str) -> list[int]:
    return [int(part) if part.isdigit() else ord(part[0]) for part in text.strip(".:").split(".")]


def _is_scrap(line: Line) -> bool:
    # A piece of a formula inside running text.
    text = line.text
    return len(text) <= 8 and text[0] not in BULLETS and not (len(text) > 2 and text.isalpha())


def _is_indented(block: Block, last: Line, line: Line) -> bool:
    """Says whether a line is the first of a paragraph by its indent, or by the line above it."""
    indent = _INDENT_EM * line.size
    first = block.lines[0]
    if len(block.lines) == 1:
        if line.left > last.left + indent:
            # Hanging, as in lists of references, unless the line above ended its paragraph.
            full = last.right > line.right - 0.12 * (line.right - last.left)
            block.hanging = full or last.text[-1] not in ".!?:"
            return not block.hanging
    elif block.hanging:
        return line.left < block.lines[1].left - 0.5 * indent
    if line.left > block.left + indent:
        return len(block.lines) > 1 or line.left > first.left + indent
    # A short last line ends a paragraph of the same indent, if the next word had fitted.
    if last.text[-1] not in ".!?" or line.left < first.left - 1:
        return False
    right = max(line.right, *(part.right for part in block.lines[-8:]))
    room = right - last.right
    width = right - min(line.left, last.left)
    word = line.text.split(None, 1)[0]
    return room > 0.15 * width and room > 0.6 * line.size * (len(word) + 1) > 0


def is_table_row(text: str) -> bool:
    """Says whether a line looks like a row of a table: cells far apart, or mostly numbers."""
    tabs = text.count("\t")
    if tabs >= 2:
        return not _LOOSE.search(text)
    if not tabs and not text[-1].isdigit() and not text[0].isdigit():
        return False
    cells = text.split()
    if len(cells) < 2:
        return False
    numbers = 0
    for cell in cells:
        # Words are most of the cells, and no number begins with a letter, but for "nan" and "n/a".
        if (cell[0].isalpha() and cell[0] != "n") or len(cell) > _CELL_CHARS or cell[-1] in ",;":
            continue
        numbers += _NUMERIC.fullmatch(cell) is not None
    return numbers >= (0.4 if tabs else 0.6) * len(cells)
