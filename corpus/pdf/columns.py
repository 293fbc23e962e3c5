"""Columns whose lines a PDF gives in turn: left, right, left, right.

Most producers write one column after the other, and the content's order is kept. Some write across
the page, and PDFium then runs the two halves of a row into one line, or gives them one after the
other. The gutter shows: most rows have a gap at one place, with prose on both sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from corpus.pdf.line import Line

_MIN_ROWS = 5
_PAIR_CHARS = 15


def gutter_of_pairs(lines: Sequence[Line]) -> float | None:
    """Returns where the gutter is when lines stand beside their successors on most of a page."""
    rights, lefts = [], []
    for line, other in itertools.pairwise(lines):
        if (
            abs(line.y - other.y) < 2
            and other.left > line.right + line.size
            and min(len(line.text), len(other.text)) >= _PAIR_CHARS
            and "\t" not in line.text
            and "\t" not in other.text
            and _is_prose(line.text)
            and _is_prose(other.text)
        ):
            rights.append(line.right)
            lefts.append(other.left)
    if len(rights) < _MIN_ROWS or len(rights) < 0.3 * len(lines):
        return None
    return (sorted(rights)[-1] + sorted(lefts)[0]) / 2


def common_gap(rows: Sequence[Sequence[tuple[float, float]]]) -> float | None:
    """Returns the place that nearly every row has a gap at.

    Args:
        rows: (start, end) of each row's wide gaps.
    """
    for start, end in (gap for row in rows for gap in row):
        middle = (start + end) / 2
        hit = [gap for row in rows for gap in row if gap[0] < middle < gap[1]]
        if len(hit) >= 0.8 * len(rows):
            return (max(gap[0] for gap in hit) + min(gap[1] for gap in hit)) / 2
    return None


def by_columns(lines: Sequence[Line], gutter: float) -> list[Line]:
    """Returns lines in reading order: between lines that cross the gutter, left before right."""
    out: list[Line] = []
    left: list[Line] = []
    right: list[Line] = []
    for line in lines:
        if line.turn == 0 and line.right <= gutter + 1:
            left.append(line)
        elif line.turn == 0 and line.left >= gutter - 1:
            right.append(line)
        else:
            out += left + right
            left, right = [], []
            out.append(line)
    return out + left + right


def _is_prose(text: str) -> bool:
    return sum(map(str.isalpha, text)) > 0.65 * len(text)


def is_two_halves(text: str, places: Sequence[int]) -> bool:
    """Says whether a line with one gap, at a place in its text, has prose on both sides of it."""
    if len(places) != 1:
        return False
    halves = text[: places[0]], text[places[0] :]
    return all(len(half) >= _PAIR_CHARS and _is_prose(half) for half in halves)
