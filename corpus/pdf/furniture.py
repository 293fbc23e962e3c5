"""What a page carries beside its text: running heads, page numbers, banners, watermarks.

Heads and feet are found by repetition: lines at the top or the bottom of pages that say the same,
numbers apart, at about the same height. Alternating heads of even and odd pages each repeat on
their own. What journals and preprint servers stamp on a first page only is known by its words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter

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
_PAGE_NUMBER_CHARS = 29
# Digits, or a word of at most six letters that is a Roman number. Beginning with one class makes
# the search twice as fast.
_NUMBER = re.compile(r"[\divxl](?:(?<=\d)\d*|(?<!\w.)[ivxl]{0,5}\b)")
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
_HEIGHT = attrgetter("y")
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
    keys = [[_key(line.text) for line in edge] for edge in edges]
    repeated = _repeated(edges, keys)
    heads = [(_pattern(key), heights) for key, heights in repeated.items()]
    cleaned = []
    for number, (lines, edge) in enumerate(zip(pages, edges, strict=True)):
        stamped = {id(line) for line in (edge if number else lines) if _is_stamp(line)}
        dropped = _outermost(edge, keys[number], lines, repeated) | stamped
        smallest, largest = _TINY_RATIO * body_size, _WATERMARK_RATIO * body_size
        kept = [
            line
            for line in lines
            if (line.turn == 0 and smallest <= line.size <= largest)
            or not _is_mark(line, body_size, number == 0)
        ]
        if dropped:
            kept = [line for line in kept if id(line) not in dropped]
        if heads:
            for line in edge:
                _cut_head(line, heads)
        cleaned.append(kept)
    return cleaned


def _edge_lines(lines: Sequence[Line]) -> list[Line]:
    """Returns the lines at the top and the bottom of a page."""
    upright = [line for line in lines if line.turn == 0]
    if len(upright) <= 2 * _EDGE_LINES:
        return upright
    rounded = [round(line.y) for line in upright]
    heights = sorted(set(rounded))
    low, high = heights[:_EDGE_LINES][-1], heights[-_EDGE_LINES:][0]
    return [line for line, y in zip(upright, rounded, strict=True) if y <= low or y >= high]


def _key(text: str) -> str:
    return _NUMBER.sub("#", text.replace("\t", " ")).strip()


def _repeated(
    edges: Sequence[Sequence[Line]], keys: Sequence[Sequence[str]]
) -> dict[str, list[float]]:
    """Returns the texts, numbers apart, that stand at one height on several pages, and heights."""
    heights: dict[str, list[float]] = defaultdict(list)
    for edge, edge_keys in zip(edges, keys, strict=True):
        pairs = zip(edge_keys, edge, strict=True)
        # A label that one figure shows many times is on one page only.
        for key, y in {key: line.y for key, line in pairs if len(line.text) < 200}.items():
            heights[key].append(y)
    needed = 2 if len(edges) <= 8 else 3
    repeated = {}
    for key, found in heights.items():
        if (
            len(found) < needed
            or sum(map(str.isalpha, key)) < _HEAD_LETTERS
            or is_caption(key.replace("#", "1"))
        ):
            continue
        found.sort()
        middle = found[len(found) // 2]
        if sum(1 for y in found if abs(y - middle) <= _SAME_HEIGHT) >= needed:
            repeated[key] = found
    return repeated


def _outermost(
    edge: Sequence[Line],
    keys: Sequence[str],
    lines: Sequence[Line],
    repeated: dict[str, list[float]],
) -> set[int]:
    """Returns the ids of a page's heads, feet and page numbers.

    Only lines with no text beyond them are, from the page's edge inwards, and only as far as a gap
    parts them from the text. A page that has nothing else keeps what it has, but for its number.
    """
    numbers = {id(line) for line in edge if _is_page_number(line.text)}
    furniture = numbers | {
        id(line)
        for line, key in zip(edge, keys, strict=True)
        if any([abs(line.y - y) <= _SAME_HEIGHT for y in repeated.get(key, ())])
    }
    if not furniture:
        return furniture
    upright = [line for line in lines if line.turn == 0]
    dropped = _parted(sorted(upright, key=_HEIGHT, reverse=True), furniture, numbers)
    dropped |= _parted(sorted(upright, key=_HEIGHT), furniture, numbers)
    if any(id(line) not in dropped for line in lines):
        return dropped
    return numbers


def _is_page_number(text: str) -> bool:
    return len(text) <= _PAGE_NUMBER_CHARS and _PAGE_NUMBER.fullmatch(text) is not None


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
        if heights[0] - 2 <= line.y <= heights[-1] + 2 and any(
            abs(line.y - y) <= 2 for y in heights
        ):
            match = pattern.match(line.text.replace("\t", " "))
            if match is not None:
                line.text = line.text[match.end() :].strip() or line.text
                return
