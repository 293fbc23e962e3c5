"""Lines of one visual row become one line; line numbers go; interleaved columns come apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corpus.pdf.line import Line

_LEADING_NUMBER = re.compile(r"(\d{1,4})(?:[ \t]+|\Z)")
_TRAILING_NUMBER = re.compile(r"[ \t](\d{1,4})\Z")
_STEP = 8
_LOOSE_STEP = 40
_MIN_NUMBERS = 8
"""So many line numbers, each one more than the last, are no accident."""


def merge_rows(lines: Sequence[Line]) -> list[Line]:
    """Joins lines that stand beside each other in one row of print.

    PDFium breaks a line where a superscript or a fraction moves the baseline.
    """
    rows: list[Line] = []
    last: Line | None = None
    for line in lines:
        if last is not None and line.left > last.left and _same_row(last, line):
            _append(last, line)
        else:
            rows.append(line)
            last = line
    return rows


def _same_row(row: Line, line: Line) -> bool:
    size = max(row.size, line.size)
    offset = abs(row.y - line.y)
    if offset > 0.75 * size or row.turn != line.turn or size == 0:
        return False
    gap = line.left - row.right
    if offset < 0.1 * size:
        # The same baseline: words of one line, as far as no column lies between them; cells of a
        # table.
        if 1.4 * size <= gap < 8 * size and _is_cell(line.text) and _is_cell(row.text[-12:]):
            return True
        return (-3.0 if line.start_size < 0.9 * size else -0.6) * size < gap < 1.4 * size
    small = min(row.size, line.size) < 0.9 * size
    return (-3.0 if small and line.size < size else -0.6) * size < gap < 0.9 * size and (
        small or offset < 0.45 * size
    )


def _is_cell(text: str) -> bool:
    return len(text) <= 60 and (text[-1].isdigit() or "\t" in text)


def _append(row: Line, line: Line) -> None:
    size = max(row.size, line.size)
    gap = line.left - row.right
    mark = row.text[-1] in "\ufffe\x02" and gap < 0.3 * size
    if mark:
        row.text = row.text[:-1] + "-" + line.text
    else:
        space = "\t" if gap >= 1.4 * size else " " if gap > 0.12 * size else ""
        row.text = f"{row.text}{space}{line.text}"
    if line.size > row.size:
        row.size, row.y = line.size, line.y
    row.right = max(row.right, line.right)
    row.last_font = line.last_font


def without_line_numbers(pages: Sequence[list[Line]]) -> list[list[Line]]:
    """Removes the numbers that drafts print beside their lines, alone or run into the text.

    A page shows that the document has them by many numbers that count up; on its other pages the
    numbers that go on from there are removed as well, however few.
    """
    numbered = [_numbering(lines) for lines in pages]
    if not any(numbered):
        return [list(lines) for lines in pages]
    out = []
    last = 0
    for lines, found in zip(pages, numbered, strict=True):
        if found and not 0 < last < min(found) <= last + _LOOSE_STEP:
            last = min(found) - 1
        last = _strip_numbers(lines, last, loose=not found)
        out.append([line for line in lines if line.text])
    return out


def _numbering(lines: Sequence[Line]) -> list[int]:
    """Returns the line numbers that a page shows beyond doubt."""
    for at_start in (True, False):
        end = 0 if at_start else -1
        places = [place for place, line in enumerate(lines) if line.text[end].isdigit()]
        if len(places) < _MIN_NUMBERS:
            continue
        values: list[int | None] = [None] * len(lines)
        for place in places:
            values[place] = _value(lines[place].text, at_start)
        if len(lines) - values.count(None) < _MIN_NUMBERS:
            continue
        chain = _chain(values)
        if len(chain) >= _MIN_NUMBERS and _is_numbering(lines, chain, at_start):
            return [value for place in chain if (value := values[place]) is not None]
    return []


def _number_at(text: str, at_start: bool) -> re.Match[str] | None:
    if not text or not text[0 if at_start else -1].isdigit():
        return None
    return _LEADING_NUMBER.match(text) if at_start else _TRAILING_NUMBER.search(text[-6:])


def _value(text: str, at_start: bool) -> int | None:
    match = _number_at(text, at_start)
    return None if match is None else int(match.group(1))


def _strip_numbers(lines: Sequence[Line], last: int, loose: bool) -> int:
    """Strips the numbers that go on from ``last``; returns the last one.

    A page skips numbers where another column or a float has them: a step may be large where the
    number is set small, as it is in every style of numbering.
    """
    sizes = sorted([line.size for line in lines])
    body = sizes[len(sizes) // 2] if sizes else 0.0
    step = _LOOSE_STEP if loose else _STEP
    for line in lines:
        for at_start in (True, False):
            match = _number_at(line.text, at_start)
            if match is None or not last < int(match.group(1)) <= last + step:
                continue
            own = line.start_size if at_start else line.end_size
            if own < 0.9 * (body if line.text.isdigit() else line.size):
                _strip(line, at_start, len(match.group()))
                last = int(match.group(1))
                break
    return last


def _chain(values: Sequence[int | None]) -> list[int]:
    """Returns the places of the longest run of values that count up by one or two."""
    best: dict[int, tuple[int, int | None]] = {}
    back: dict[int, int | None] = {}
    none: tuple[int, int | None] = (0, None)
    top, top_place = 0, None
    for place, value in enumerate(values):
        if value is None:
            continue
        # One in between may be missing: a superscript at the start of its line hides it.
        length, before = best.get(value - 1, none)
        further = best.get(value - 2, none)
        if further[0] > length:
            length, before = further
        back[place] = before
        if length + 1 >= best.get(value, (0, None))[0]:
            best[value] = (length + 1, place)
        if length + 1 > top:
            top, top_place = length + 1, place
    chain = []
    while top_place is not None:
        chain.append(top_place)
        top_place = back[top_place]
    return chain[::-1]


def _is_numbering(lines: Sequence[Line], chain: Sequence[int], at_start: bool) -> bool:
    """Says whether numbers that count up are line numbers, not those of a table's rows or a list.

    Most lines between the first and the last have one, and it is set smaller than the text.
    """
    if len(chain) < 0.5 * (chain[-1] - chain[0] + 1):
        return False
    sizes = sorted(line.size for line in lines)
    body = sizes[len(sizes) // 2]
    small = 0
    for place in chain:
        line = lines[place]
        own = line.start_size if at_start else line.end_size
        small += own < 0.9 * (body if line.text.isdigit() else line.size)
    return small > 0.7 * len(chain)


def _strip(line: Line, at_start: bool, number_chars: int) -> None:
    own = line.start_size if at_start else line.end_size
    width = (number_chars + 0.5) * 0.5 * own
    if at_start:
        line.text = line.text[number_chars:]
        line.left = line.text_left or line.left + width
        line.font = line.last_font
        line.start_size = line.end_size
    else:
        line.text = line.text[:-number_chars]
        line.right -= width
