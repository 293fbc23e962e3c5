"""The document's title, and blocks that belong together after all."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corpus.pdf.blocks import SECTION, Block, is_named, started
from corpus.pdf.style import Style

_TITLE_WORDS = 60
_TITLE_RATIO = 1.08
"""A title in print larger than this times the text's needs no other sign."""
_TITLE_BLOCKS = 12
_FRONT_BLOCKS = 60
"""The abstract comes within so many blocks; long lists of affiliations stand before it."""


def refine_blocks(blocks: Sequence[Block]) -> list[Block]:
    """Joins the pieces of one formula, the rows of one table, and the lines of one heading."""
    out: list[Block] = []
    for block in blocks:
        last = out[-1] if out else None
        if last is not None and block.kind == "table" and _is_table_head(last, block):
            last.kind, last.level = "table", 0
        if last is not None and last.kind == block.kind and not _apart(last, block):
            for line in block.lines:
                last.add(line)
        else:
            out.append(block)
    return out


def _is_table_head(head: Block, table: Block) -> bool:
    """Says whether the lines above the rows of a table are its first: cells without numbers."""
    return (
        head.kind in ("text", "heading", "equation")
        and not table.jumped
        and table.gap < 2
        and len(head.lines) <= 3
        and all("\t" in line.text for line in head.lines)
    )


def _apart(last: Block, block: Block) -> bool:
    kind = block.kind
    if kind == "equation":
        # The pieces of a formula stand in any order.
        return abs(last.lines[-1].y - block.lines[0].y) > 3 * block.size
    if block.jumped:
        return True
    if kind == "table":
        return block.gap > 2.5
    if kind == "heading":
        return block.gap > 1.6 or abs(last.size - block.size) > 0.1 or last.level != block.level
    return True


def mark_title(blocks: Sequence[Block], style: Style) -> bool:
    """Makes the title of the document the one heading of level 1, where its print tells.

    Among the first blocks of the first page, above the abstract, it is the largest in print; where
    none is larger than the text, the first in bold, or the very first above an abstract.
    Returns whether there was one.
    """
    candidates: list[Block] = []
    has_abstract = False
    for place, block in enumerate(blocks[:_FRONT_BLOCKS]):
        text = " ".join(line.text for line in block.lines)
        has_abstract = text.lower().replace(" ", "").startswith("abstract")
        prose = len(text) > 200 and block.size <= _TITLE_RATIO * style.body_size
        if has_abstract or prose or len(text) > 600:
            break
        if place >= _TITLE_BLOCKS or block.size < 0.93 * style.body_size:
            continue
        if text.startswith("Corresponding"):
            continue
        if sum(map(str.isalpha, text)) >= 4 and len(text.split()) <= _TITLE_WORDS:
            candidates.append(block)
    if not candidates:
        return False
    largest = max(candidates, key=lambda block: block.size)
    if largest.size <= _TITLE_RATIO * style.body_size:
        bold = [block for block in candidates if block.bold]
        if bold:
            largest = bold[0]
        elif has_abstract:
            largest = candidates[0]
        else:
            return False
    largest.kind, largest.level = "heading", 1
    _demote_authors(blocks, largest)
    return True


def _demote_authors(blocks: Sequence[Block], title: Block) -> None:
    # Names between the title and the abstract are often set as large as headings.
    place = next(number for number, block in enumerate(blocks) if block is title)
    between: list[Block] = []
    for block in blocks[place + 1 : _TITLE_BLOCKS + place]:
        if block.kind != "heading":
            continue
        text = " ".join(line.text for line in block.lines)
        section = SECTION.fullmatch(text)
        # A letter before names is an initial.
        if is_named(text) or (section is not None and section.group("number")[0].isdigit()):
            for name in between:
                name.kind, name.level = "text", 0
            return
        if block.size < 0.8 * title.size or "," in text:
            block.kind, block.level = "text", 0
        elif block.size < 0.97 * title.size or title.size <= _TITLE_RATIO * block.size:
            between.append(block)


_AUTHOR = re.compile(r"(?:\[[^\]]{1,24}\]|\d{1,3}\.?\s|[A-Z][^\W\d_]+[^.]{0,20}[, ]\s?[A-Z]\.|—)")


_REFERENCES = re.compile(
    r"(?:[\dA-Z]{1,3}\.?\s)?(?:references|bibliography|literature cited)[.:]?", re.IGNORECASE
)


def mark_references(blocks: Sequence[Block], inside: bool) -> tuple[list[Block], bool]:
    """Cuts lists of references into entries.

    Args:
        blocks: a page's blocks.
        inside: whether the page begins inside such a list.

    Returns:
        The blocks, and whether the page ends inside the list.
    """
    out: list[Block] = []
    part: list[Block] = []
    for block in blocks:
        if block.kind != "heading":
            part.append(block)
            continue
        out += [*(split_references(part) if inside else part), block]
        part = []
        inside = _REFERENCES.fullmatch(" ".join(line.text for line in block.lines)) is not None
    return out + (split_references(part) if inside else part), inside


def split_references(blocks: Sequence[Block]) -> list[Block]:
    """Cuts the text of a list of references into its entries, by their hanging indents.

    ``level`` of an entry is 1 where it goes on from the column or page before.
    """
    out: list[Block] = []
    for block in blocks:
        if block.kind not in ("text", "list", "note", "equation") or block.size == 0:
            out.append(block)
        elif out and out[-1].kind == "reference" and not block.jumped and block.gap < 2:
            out[-1].lines += block.lines
        else:
            block.kind = "reference"
            out.append(block)
    return [entry for block in out for entry in _entries(block)]


def _entries(block: Block) -> list[Block]:
    if block.kind != "reference":
        return [block]
    left, size = min(line.left for line in block.lines), block.size
    hung = [line.left > left + 0.6 * size for line in block.lines]
    entries: list[Block] = []
    for place, line in enumerate(block.lines):
        if any(hung):
            starts = not hung[place]
        else:
            cut = block.lines[place - 1].text[-1:] in ("-", "\ufffe")
            starts = _AUTHOR.match(line.text) is not None and not cut
        if entries and not starts:
            entries[-1].lines.append(line)
        else:
            entries.append(started(line, block.jumped and not entries))
            entries[-1].kind, entries[-1].level = "reference", int(not starts)
    return entries
