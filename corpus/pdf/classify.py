"""What each block of a page is: heading, caption, table, equation, note, label of a figure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corpus.pdf.blocks import (
    BULLETS,
    CAPTION,
    LIST_START,
    SECTION,
    Block,
    has_leaders,
    is_named,
)
from corpus.pdf.line import Line
from corpus.pdf.style import Style

_HEADING_CHARS = 180
_HEADING_WORDS = 22
_LARGER = 1.08
_NOTE_RATIO = 0.95
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_EQUATION_NUMBER = re.compile(r"\((?:[A-Z]\.?)?\d{1,3}(?:\.\d{1,3})?[a-z]?\)\Z")
_MATH_SIGN = re.compile(r"[=+−∝<>≤≥∼≈∫∑∏√≡≃∂∇∞→×·±|∈]")


def classify(blocks: Sequence[Block], style: Style) -> None:
    """Sets the kind of each block of a page."""
    heights = [line.y for block in blocks for line in block.lines]
    bottom, top = min(heights, default=0.0), max(heights, default=0.0)
    for number, block in enumerate(blocks):
        after = blocks[number + 1 : number + 4]
        text = " ".join([line.text for line in block.lines[:6]])
        if has_leaders(text):
            block.kind = "contents"
        elif _is_caption(block, text):
            block.kind = "caption"
        elif block.is_row:
            block.kind = "table"
        elif _is_equation(block, text):
            block.kind = "equation"
        elif (level := _heading_level(block, after, text, style)) > 0:
            block.kind, block.level = "heading", level
        elif text[0] in BULLETS or LIST_START.match(text):
            block.kind = "list"
    _mark_notes(blocks, style, bottom + 0.4 * (top - bottom))


def _is_caption(block: Block, text: str) -> bool:
    match = CAPTION.match(text) if text[0] in "FTPSAEL" else None
    if match is None:
        return False
    return (
        match.group(1) is not None
        or match.end() >= len(block.lines[0].text)
        or (block.lines[0].font.bold)
    )


def _is_equation(block: Block, text: str) -> bool:
    """Says whether a block is a displayed formula, or a piece of one."""
    if len(text) > 250 or text[0] in BULLETS:
        return False
    has_math = any([line.font.math or line.last_font.math for line in block.lines])
    numbered = text[-1] == ")" and _EQUATION_NUMBER.search(text) is not None
    if not (has_math or numbered or _MATH_SIGN.search(text)):
        return False
    words = _LONG_WORD.findall(text)
    letters = sum(map(len, words))
    return letters < 0.35 * len(text) and len(words) < 12


def _heading_level(block: Block, after: Sequence[Block], text: str, style: Style) -> int:
    """Returns the level of a heading from 2, or 0 for other text."""
    if len(block.lines) > 4 or len(text) > _HEADING_CHARS or "\t" in text:
        return 0
    words = text.split()
    if len(words) > _HEADING_WORDS or text[-1] in ",;-" or not any(map(str.isalpha, text)):
        return 0
    if is_named(text):
        return 2
    if block.lines[0].start_size < 0.85 * block.size:
        # A footnote or an affiliation: its number is a superscript.
        return 0
    section = SECTION.fullmatch(text)
    emphasis = _emphasis(block, text, style)
    if (
        section is not None
        and (emphasis or _is_set_off(block, after, style))
        and (text[-1] not in ".:" or len(words) <= 6)
    ):
        number = section.group("number").rstrip(".:")
        return min(2 + number.count("."), 6)
    if not emphasis or text[-1] == "." or not after or len(text) < 4:
        return 0
    if after[0].lines[0].text[0].islower() and not after[0].jumped:
        # The bold beginning of a paragraph.
        return 0
    if text[0].islower() or sum(map(str.isalpha, text)) < 0.6 * len(text):
        return 0
    return 2 if emphasis > 1 or text.isupper() else 3


def _emphasis(block: Block, text: str, style: Style) -> int:
    """Says how strongly a block's print is set apart: 2 larger, 1 by weight or capitals, 0 not."""
    if block.size > _LARGER * style.body_size:
        return 2
    first = block.lines[0]
    if block.size < 0.85 * style.body_size:
        return 0
    if block.bold or (first.font.small_caps and len(text) > 6):
        return 1
    return 1 if text.isupper() and len(text) > 6 and " " in text else 0


def _is_set_off(block: Block, after: Sequence[Block], style: Style) -> bool:
    """Says whether a line of the text's size and weight is set off: by another font, or centred."""
    if not after or after[0].jumped or not (block.gap > 1.1 or block.jumped):
        return False
    last = block.lines[-1]
    if last.last_font.italic or last.last_font.name not in style.text_fonts:
        return True
    left = block.lines[0].left - 1.0 * block.size
    right = last.right + 1.0 * block.size
    below = [line for other in after for line in other.lines[:3]]
    return any(line.left < left and line.right > right for line in below)


def _mark_notes(blocks: Sequence[Block], style: Style, below: float) -> None:
    """Marks small print at the foot of columns that have larger print above it."""
    small: list[Block] = []
    at_foot = True
    for block in reversed(blocks):
        if block.kind in ("caption", "table"):
            at_foot = at_foot and not small
        elif block.size >= _NOTE_RATIO * style.body_size:
            if block.kind == "text" and at_foot:
                for note in small:
                    note.kind = "note"
            small, at_foot = [], False
        elif at_foot and block.lines[0].y < below:
            small.append(block)
        else:
            small, at_foot = [], False
        if block.jumped:
            small, at_foot = [], True


_FIGURE = re.compile(r"(?:\A|\s)Fig(?:ure|\.)?\s(?:[A-Z]\.?)?\d{1,3}[a-z]?\s?(?:[.:|]|\Z)")
_PROSE = re.compile(r"(?:[^\W\d_]{2,30}[,;:]?\s){5}")
_LABEL_CHARS = 60
_MIN_LABELS = 4


def without_figure_text(lines: Sequence[Line], style: Style) -> list[Line]:
    """Removes the labels of figures: tick numbers, axis titles, legends.

    They are runs of at least four short lines that are no sentence, on a page with a figure's
    caption, in fonts that set no prose of the document; or runs of twice as many that are nothing
    but numbers and symbols. Turned lines (axis titles) on such a page are labels as well.
    """
    if not any([_FIGURE.search(line.text) for line in lines if "Fig" in line.text]):
        return list(lines)
    kept: list[Line] = []
    run: list[Line] = []
    foreign = 0
    for line in lines:
        kind = _label_kind(line, style)
        if kind:
            run.append(line)
            foreign += kind == 2
            continue
        if run:
            if not _is_label_run(run, foreign):
                kept += run
            run, foreign = [], 0
        kept.append(line)
    if not _is_label_run(run, foreign):
        kept += run
    return kept


def _label_kind(line: Line, style: Style) -> int:
    """Returns 2 for a short line in a font of no prose, 1 for one of numbers only, else 0."""
    if line.turn:
        return 2
    text = line.text
    if (
        line.last_font.name in style.text_fonts
        or line.last_font.math
        or line.font.math
        or line.font.name in style.text_fonts
    ):
        return 1 if len(text) < 30 and not _LONG_WORD.search(text) else 0
    if len(text) > _LABEL_CHARS and _PROSE.search(text):
        return 0
    return 0 if line.font.bold and line.size > 0.95 * style.body_size else 2


def _is_label_run(run: Sequence[Line], foreign: int) -> bool:
    if foreign >= _MIN_LABELS or (foreign and foreign >= 0.5 * len(run)):
        return True
    numbers = sum(1 for line in run if not any(map(str.isalpha, line.text)))
    return len(run) >= 2 * _MIN_LABELS and numbers >= 0.7 * len(run)
