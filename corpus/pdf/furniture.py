"""What a page carries beside its text: running heads, page numbers, banners, watermarks.

Heads and feet are found by repetition: lines at the top or the bottom of pages that say the same,
numbers apart, at about the same height. Alternating heads of even and odd pages each repeat on
their own. What journals and preprint servers stamp on a first page only is known by its words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from corpus.pdf.joining import is_caption
from corpus.pdf.line import Line

_EDGE_LINES = 3
"""So many lines at the top and at the bottom of a page may be furniture."""
_HEAD_GAP = 1.4
"""A head stands further from the text than this many font sizes, or it is text."""
_SAME_HEIGHT = 6.0
"""Points by which the height of a running head may differ from page to page."""
_HEAD_LETTERS = 4
"""A symbol or a tick label at the edge of several pages is no running head."""
_PAGE_NUMBER = re.compile(
    r"[-–—\s|.]{0,4}(?:page\s{0,2})?(?:\d{1,4}|[ivxlc]{1,7})"
    r"(?:\s?(?:of|/)\s?\d{1,4})?[-–—\s|.]{0,4}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+|\b[ivxl]{1,6}\b")
_STAMP = re.compile(
    r"draft version\b|typeset using|preprint typeset using|compiled using mnras|"
    r"preprint \d{1,2} \w+ \d{4}|mnras (?:000|\d{3}),? |accepted xxx|"
    r"arxiv:\s?(?:\d{4}\.\d{4,5}|[a-z-]{2,10}(?:\.[a-z]{2})?/\d{7})v\d{1,2}\s+\[|"
    r"article number, page \d|astronomy & astrophysics manuscript no|"
    r"downloaded from (?:https?:|www\.)|"
    r"(?:c|©|\(c\))\s?(?:eso|aas|\d{4}\b).{0,80}\Z|©|copyright (?:©|\d{4})|"
    r"submitted to (?:apj|aj|mnras|aas|apjl|apjs|a&a|the astro)\b.{0,40}\Z",
    re.IGNORECASE,
)
_TURNED_STAMP = re.compile(r"arxiv:|downloaded from|\bcopyright\b|©", re.IGNORECASE)
_WATERMARK_RATIO = 3.0
_TINY_RATIO = 0.42
"""A few characters set smaller than any subscript label an icon or a button."""


def remove_furniture(pages: Sequence[list[Line]], body_size: float) -> list[list[Line]]:
    """Returns the pages' lines without furniture.

    Args:
        pages: each page's lines, in any order, as they stand in print.
        body_size: font size of the document's running text.
    """
    edges = [_edge_lines(lines) for lines in pages]
    repeated = _repeated(edges)
    heads = [(_pattern(key), heights) for key, heights in repeated.items()]
    cleaned = []
    for number, (lines, edge) in enumerate(zip(pages, edges, strict=True)):
        edge_ids = {id(line) for line in edge}
        dropped = _outermost(edge, lines, repeated)
        kept = []
        for line in lines:
            if id(line) in dropped or _is_mark(line, body_size, number == 0):
                continue
            if (number == 0 or id(line) in edge_ids) and _is_stamp(line):
                continue
            kept.append(line)
        for line in edge:
            _cut_head(line, heads)
        cleaned.append(kept)
    return cleaned


def _edge_lines(lines: Sequence[Line]) -> list[Line]:
    """Returns the lines at the top and the bottom of a page."""
    upright = [line for line in lines if line.turn == 0]
    if len(upright) <= 2 * _EDGE_LINES:
        return upright
    heights = sorted({round(line.y) for line in upright})
    low, high = heights[:_EDGE_LINES][-1], heights[-_EDGE_LINES:][0]
    return [line for line in upright if round(line.y) <= low or round(line.y) >= high]


def _key(text: str) -> str:
    return _NUMBER.sub("#", text.replace("\t", " ")).strip()


def _repeated(edges: Sequence[Sequence[Line]]) -> dict[str, list[float]]:
    """Returns the texts, numbers apart, that stand at one height on several pages."""
    heights: dict[str, list[float]] = defaultdict(list)
    for edge in edges:
        # A label that one figure shows many times is on one page only.
        for key, y in {_key(line.text): line.y for line in edge if len(line.text) < 200}.items():
            heights[key].append(y)
    needed = 2 if len(edges) <= 8 else 3
    repeated = {}
    for key, found in heights.items():
        if sum(map(str.isalpha, key)) < _HEAD_LETTERS or is_caption(key.replace("#", "1")):
            continue
        found.sort()
        middle = found[len(found) // 2]
        if sum(1 for y in found if abs(y - middle) <= _SAME_HEIGHT) >= needed:
            repeated[key] = found
    return repeated


def _is_edge_furniture(line: Line, repeated: dict[str, list[float]]) -> bool:
    found = repeated.get(_key(line.text))
    return found is not None and any(abs(line.y - y) <= _SAME_HEIGHT for y in found)


def _outermost(
    edge: Sequence[Line], lines: Sequence[Line], repeated: dict[str, list[float]]
) -> set[int]:
    """Returns the ids of a page's heads, feet and page numbers.

    Only lines with no text beyond them are, from the page's edge inwards, and only as far as a gap
    parts them from the text. A page that has nothing else keeps what it has, but for its number.
    """
    numbers = {id(line) for line in edge if _PAGE_NUMBER.fullmatch(line.text)}
    furniture = numbers | {id(line) for line in edge if _is_edge_furniture(line, repeated)}
    dropped: set[int] = set()
    if furniture:
        upright = [line for line in lines if line.turn == 0]
        dropped = _parted(sorted(upright, key=lambda line: -line.y), furniture, numbers)
        dropped |= _parted(sorted(upright, key=lambda line: line.y), furniture, numbers)
    if any(id(line) not in dropped for line in lines):
        return dropped
    return numbers


def _parted(inwards: Sequence[Line], furniture: set[int], numbers: set[int]) -> set[int]:
    """Returns the furniture at one edge of a page, given its lines from there inwards."""
    dropped: set[int] = set()
    pending: list[int] = []
    further = 0
    for place, line in enumerate(inwards):
        if id(line) not in furniture:
            beside = place and abs(inwards[place - 1].y - line.y) <= 2
            if not beside:
                break
            continue
        pending.append(id(line))
        while further < len(inwards) and abs(inwards[further].y - line.y) <= 2:
            further += 1
        after = inwards[further] if further < len(inwards) else line
        gap = abs(after.y - line.y)
        if after is line or gap > _HEAD_GAP * max(after.size, line.size):
            dropped.update(pending)
            pending = []
    return dropped | (set(pending[:1]) & numbers)


def _is_mark(line: Line, body_size: float, first_page: bool) -> bool:
    """Says whether a line is a watermark, an icon, or a stamp up the margin."""
    if line.turn:
        return _TURNED_STAMP.search(line.text) is not None
    if line.size > _WATERMARK_RATIO * body_size:
        far_larger = line.size > 2 * _WATERMARK_RATIO * body_size
        return len(line.text) < 25 and (far_larger or not first_page)
    return 0 < line.size < _TINY_RATIO * body_size and len(line.text) < 12


def _is_stamp(line: Line) -> bool:
    return len(line.text) < 160 and _STAMP.match(line.text) is not None


def _pattern(key: str) -> re.Pattern[str]:
    number = r"(?:\d+|[ivxl]{1,6})"
    return re.compile(number.join(re.escape(word) for word in key.split("#")) + r"\s")


def _cut_head(line: Line, heads: Sequence[tuple[re.Pattern[str], list[float]]]) -> None:
    # PDFium runs a head into whatever follows it at about the same height.
    for pattern, heights in heads:
        if any(abs(line.y - y) <= 2 for y in heights):
            match = pattern.match(line.text.replace("\t", " "))
            if match is not None:
                line.text = line.text[match.end() :].strip() or line.text
                return
