"""Blocks of a page as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corpus.pdf.blocks import BULLETS, Block, has_leaders
from corpus.pdf.glyphs import clean
from corpus.pdf.hyphens import Vocabulary, keeps_hyphen
from corpus.pdf.joining import goes_on

_BULLET = re.compile(rf"[{BULLETS}]\s*")
_SPACES = re.compile(r"[ \t]{2,}|\t")
_SPACED = re.compile(r"(?:\b\w\b ){4,}\w\b")
_DOTS = re.compile(r"\s{0,3}\.[\s.]{5,}")
_MIN_TABLE_ROWS = 2


def page_markdown(blocks: Sequence[Block], words: Vocabulary) -> str:
    """Renders a page's blocks and joins paragraphs that a float or a column cuts."""
    for block in blocks:
        block.text = render(block, words)
    ordered = _joined([block for block in blocks if block.text], words)
    return "\n\n".join(_marked(block) for block in ordered)


def render(block: Block, words: Vocabulary) -> str:
    """Returns a block's text without Markdown marks: one line, or one line per row of a table."""
    if block.kind == "table":
        return "\n".join(_cleaned(line.text) for line in block.lines)
    text = block.lines[0].text
    for line in block.lines[1:]:
        text = _continue(text, line.text, words)
    if has_leaders(text):
        text = _DOTS.sub(" ", text)
    text = _cleaned(text)
    if "  " in text or "\t" in text:
        text = _SPACES.sub(" ", text)
    return text.strip()


def _cleaned(text: str) -> str:
    if text[-1] in "\ufffe\x02" and not text.isascii():
        text = text[:-1] + "-"
    return clean(text)


def _continue(text: str, more: str, words: Vocabulary) -> str:
    end = text[-1]
    if end in "\ufffe\x02\xad" or (end == "-" and text[-2:-1].isalnum() and more[0].isalnum()):
        stem = text[:-1]
        return f"{stem}{'-' if keeps_hyphen(stem, more, words) else ''}{more}"
    if end in "–—/" and len(text) > 1 and text[-2] != " ":
        return text + more
    return f"{text} {more}"


def _joined(blocks: list[Block], words: Vocabulary) -> list[Block]:
    """Joins an unfinished paragraph with the one that follows behind floats or in a next column."""
    out: list[Block] = []
    opened: Block | None = None
    between = False
    for block in blocks:
        if block.kind == "reference" and block.level and out and out[-1].kind == "reference":
            out[-1].text = _continue(out[-1].text, block.text, words)
            continue
        if block.kind not in ("text", "list"):
            between = between or block.kind != "heading"
            if block.kind in ("heading", "equation"):
                opened = None
            out.append(block)
            continue
        apart = between or block.jumped
        if opened is not None and block.lines[0].turn != opened.lines[0].turn:
            apart = False
        if (
            opened is not None
            and apart
            and block.kind == "text"
            and goes_on(opened.text, block.text)
        ):
            opened.text = _continue(opened.text, block.text, words)
            opened.lines = opened.lines + block.lines
            if out[-1] is not opened:
                # The floats between its halves come before it, so that the page's text ends with
                # the paragraph that the next page may go on with.
                out.remove(opened)
                out.append(opened)
        else:
            opened = block
            out.append(block)
        between = False
    return _floats_before_end(out)


def _floats_before_end(blocks: list[Block]) -> list[Block]:
    """Moves notes and floats at the end of a page before its last, unfinished paragraph."""
    last = len(blocks) - 1
    while last >= 0 and blocks[last].kind in ("note", "caption", "table", "figure"):
        last -= 1
    if 0 <= last < len(blocks) - 1 and blocks[last].kind in ("text", "list"):
        text = blocks[last].text
        if text[-1] not in ".!?:":
            return [*blocks[:last], *blocks[last + 1 :], blocks[last]]
    return blocks


def _marked(block: Block) -> str:
    text = block.text
    if block.kind == "heading":
        if _SPACED.fullmatch(text):
            text = text.replace(" ", "")
        return f"{'#' * block.level} {text}"
    if block.kind == "table":
        return _table(text)
    if block.kind == "list":
        return _BULLET.sub("- ", text, count=1)
    return _escaped(text)


def _escaped(text: str) -> str:
    # A paragraph that happens to start like Markdown's marks is still a paragraph.
    if text[0] in "#>|" or text[:2] in ("- ", "+ ", "* "):
        return "\\" + text
    return text


def _table(text: str) -> str:
    """Returns a Markdown table where every row has the same cells, else the rows as lines."""
    rows = [[cell.strip() for cell in row.split("\t")] for row in text.split("\n")]
    columns = len(rows[0])
    if len(rows) >= _MIN_TABLE_ROWS and columns >= 2 and all(len(r) == columns for r in rows):
        cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines.insert(1, "|" + " --- |" * columns)
        return "\n".join(lines)
    return "\n".join(_SPACES.sub("  ", " ".join(row)) for row in rows)
