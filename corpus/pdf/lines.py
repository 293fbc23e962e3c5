"""Lines of a page with their geometry, from PDFium's text page.

PDFium gives a page's text in one call, in content order, with a line break where the text jumps.
Geometry costs a call through ctypes per value and character, which is more than PDFium itself
needs for the whole page; so only the first and the last character of each line are measured, and
the calls are made without argument conversion.
"""

from __future__ import annotations

import ctypes
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import pypdfium2.raw as pdfium_c

from corpus.pdf.columns import by_columns, common_gap, gutter_of_pairs, is_two_halves
from corpus.pdf.line import NO_FONT, Font, Line

# PDFium writes U+FFFE (older builds U+0002) where a word is hyphenated at a line's end.
HYPHEN_MARK = "\ufffe"
_SEGMENT = re.compile(r"[^\r\n\ufffe\x02]+[\ufffe\x02]?")
# Gaps are measured on pages with the head of a table, and in rows of numbers anywhere.
_TABLE_HEAD = re.compile(r"(?:^|\n)\s?(?:Table|TABLE|Tab\.)\s[A-Z]{0,2}[\dIVX]")
_NUMERIC = frozenset("0123456789-+−±<>.~∼")
_NUMBER_ROW = re.compile(r"(?:[-+−±<>~∼.,×()\d]{1,20} ){2}")
_LINE_NUMBER = re.compile(r"\d{1,4} ")
_SPACE = re.compile(r" +")
_CELL_GAP_EM = 0.9
_FAR = 1e6
_GUTTER_EM = 1.0
_MIN_WIDE = 6
_SAMPLE = 6
_SAMPLE_MISSES = 2
_PROSE = re.compile(r"(?:[a-z]{2,30}[,;:.]? ){4}")
_SUBSET = re.compile(r"\A[A-Z]{6}\+")
_ITALIC = re.compile(r"ital|obli|slant|cmti|cmsl|cmmi|-it\b", re.IGNORECASE)
_BOLD = re.compile(r"bold|black|heavy|semib|demi|cmbx|sfbx|nimbusrom\w*-medi|-medi|-?bd\b", re.I)
_SMALL_CAPS = re.compile(r"cmcsc|smallcaps|-sc\b|sfcc|csc\d", re.IGNORECASE)
_MATH = re.compile(r"cmmi|cmsy|cmex|msam|msbm|math|symbol|stix.*ital|mtsy|mtmi|rtxmi|txsy", re.I)


@dataclass(slots=True)
class PageLines:
    """A page's lines, where each starts in its text, and whether that has every character."""

    lines: list[Line]
    starts: list[int]
    exact: bool


def _function(name: str, result: Any = ctypes.c_int, *arguments: Any) -> Any:
    # A function of our own on the same address: PDFium's header types cost a conversion per
    # argument and call, and nothing here is shared with other users of the binding.
    address = ctypes.cast(getattr(pdfium_c, name), ctypes.c_void_p).value
    assert address is not None
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


class TextReader:
    """Reads text pages; holds the buffers that the calls write to."""

    def __init__(self) -> None:
        self._get_origin = _function("FPDFText_GetCharOrigin")
        self._get_box = _function("FPDFText_GetCharBox")
        self._get_matrix = _function("FPDFText_GetMatrix")
        self._get_size = _function("FPDFText_GetFontSize", ctypes.c_double)
        self._get_object = _function("FPDFText_GetTextObject", ctypes.c_void_p)
        self._get_font = _function("FPDFTextObj_GetFont", ctypes.c_void_p, ctypes.c_void_p)
        self._get_index = _function("FPDFText_GetCharIndexFromTextIndex")
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        self._left, self._right = ctypes.c_double(), ctypes.c_double()
        self._bottom, self._top = ctypes.c_double(), ctypes.c_double()
        self._matrix = (ctypes.c_float * 6)()
        self._xy = (ctypes.byref(self._x), ctypes.byref(self._y))
        self._sides = tuple(
            ctypes.byref(side) for side in (self._left, self._right, self._bottom, self._top)
        )
        self._matrix_ref = ctypes.byref(self._matrix)
        self._fonts: dict[int, Font] = {}
        self._named: dict[str, Font] = {}

    def read(self, text_page: Any) -> list[Line]:
        """Returns the lines of a page of pypdfium2 in content order."""
        handle = ctypes.c_void_p(ctypes.cast(text_page.raw, ctypes.c_void_p).value)
        count = pdfium_c.FPDFText_CountChars(text_page.raw)
        if count <= 0:
            return []
        text, exact = _text(text_page.raw, count)
        # Fonts live as long as the page that loaded them.
        self._fonts = {}
        lines: list[Line] = []
        starts: list[int] = []
        turns: dict[int, int] = {}
        # Looking for the word first spares most pages the search.
        has_table = ("Tab" in text or "TAB" in text) and _TABLE_HEAD.search(text) is not None
        for match in _SEGMENT.finditer(text):
            raw = match.group()
            stripped = raw.strip()
            if not stripped:
                continue
            start = match.start() if raw[0] == stripped[0] else match.start() + raw.index(stripped)
            line = self._measure(handle, stripped, start, exact)
            if line.turn == 0 and (
                stripped[-1].isdigit() or not _PROSE.search(stripped)
                if has_table
                else stripped[0] in _NUMERIC and _NUMBER_ROW.match(stripped)
            ):
                line.text = self._tabbed(handle, stripped, start, exact, line.size)
            if line.start_size < 0.9 * line.size and (number := _LINE_NUMBER.match(stripped)):
                start_index, after = start, start + number.end()
                if not exact:
                    start_index = self._get_index(handle, start_index)
                    after = self._get_index(handle, after)
                if self._get_origin(handle, after, *self._xy):
                    line.text_left = self._x.value
                    scale = line.start_size / (self._get_size(handle, start_index) or 1.0)
                    line.size = max(line.size, scale * self._get_size(handle, after))
            turns[line.turn] = turns.get(line.turn, 0) + len(stripped)
            lines.append(line)
            starts.append(start)
        if 0 in turns:
            lines = self.split_at_gutter(text_page, PageLines(lines, starts, exact))
            if (gutter := gutter_of_pairs(lines)) is not None:
                lines = by_columns(lines, gutter)
        if len(turns) > 1 or 0 not in turns:
            _turn(lines, max(turns, key=lambda turn: (turns[turn], -turn)))
        return lines

    def _measure(self, handle: Any, text: str, start: int, exact: bool) -> Line:
        end = start + len(text) - 1
        if end > start and text[-1] in "\ufffe\x02":
            end -= 1
        if not exact:
            # The text leaves out some of the page's characters, such as controls.
            start, end = self._get_index(handle, start), self._get_index(handle, end)
            end = max(start, end)
        if start < 0 or not self._get_origin(handle, start, *self._xy):
            return Line(text, 0.0, 0.0, 0.0, 0.0)
        left, y = self._x.value, self._y.value
        self._get_matrix(handle, start, self._matrix_ref)
        a, b, c, d, _, _ = self._matrix
        scale = abs(d) if c == 0 else math.hypot(c, d)
        size = end_size = scale * self._get_size(handle, start)
        self._get_box(handle, end, *self._sides)
        right = self._right.value
        first_object, last_object = self._get_object(handle, start), self._get_object(handle, end)
        first = last = self._font_of(first_object)
        # Most lines are one object: nothing changes in them.
        if last_object != first_object:
            last = self._font_of(last_object)
            end_size = scale * self._get_size(handle, end)
            if end_size > 1.05 * size:
                # A line that starts with a superscript: its baseline is that of its end.
                self._get_origin(handle, end, *self._xy)
                y = self._y.value
        top_size = size if size > end_size else end_size
        if not (abs(left) + abs(right) + abs(y) < _FAR and top_size < _FAR):
            # Numbers of a broken file, NaN among them.
            return Line(text, 0.0, 0.0, 0.0, 0.0)
        if b != 0 and abs(b) > abs(a):
            return Line(text, left, y, y, size, first, first, 1 if b > 0 else 3)
        return Line(text, left, right, y, top_size, first, last, 2 if a < 0 else 0, size, end_size)

    def _gaps(
        self, handle: Any, text: str, start: int, exact: bool, least: float
    ) -> list[tuple[int, int, float, float]]:
        """Returns the spaces of a line wider than ``least``: place in the text, then in print."""
        gaps = []
        for match in _SPACE.finditer(text):
            before, after = start + match.start() - 1, start + match.end()
            if not exact:
                before, after = self._get_index(handle, before), self._get_index(handle, after)
            self._get_box(handle, before, *self._sides)
            if self._get_origin(handle, after, *self._xy) and (
                self._x.value - self._right.value > least
            ):
                gaps.append((match.start(), match.end(), self._right.value, self._x.value))
        return gaps

    def _tabbed(self, handle: Any, text: str, start: int, exact: bool, size: float) -> str:
        """Puts a tab wherever a space is as wide as the gap between columns of a table."""
        parts, position = [], 0
        for gap in self._gaps(handle, text, start, exact, _CELL_GAP_EM * size):
            parts.append(text[position : gap[0]])
            position = gap[1]
        parts.append(text[position:])
        return "\t".join(parts)

    def split_at_gutter(self, text_page: Any, found: PageLines) -> list[Line]:
        """Cuts lines that run over two columns into their halves, if the page has such lines."""
        lines = found.lines
        wide = _wide_lines(lines)
        if len(wide) < _MIN_WIDE:
            return lines
        handle = ctypes.c_void_p(ctypes.cast(text_page.raw, ctypes.c_void_p).value)
        sample = wide[:: max(1, len(wide) // _SAMPLE)][:_SAMPLE]
        rows, misses = [], 0
        for place in sample:
            gaps = self._line_gaps(handle, found, place)
            if is_two_halves(lines[place].text, [gap[0] for gap in gaps]):
                rows.append([(gap[2], gap[3]) for gap in gaps])
                continue
            misses += 1
            if misses >= _SAMPLE_MISSES and misses > len(rows):
                # Nearly every page ends here: it has one column.
                return lines
        if len(rows) < 0.7 * len(sample) or (gutter := common_gap(rows)) is None:
            return lines
        cut: dict[int, list[Line]] = {}
        for place in wide:
            for gap in self._line_gaps(handle, found, place):
                if gap[2] < gutter < gap[3]:
                    cut[place] = _halves(lines[place], gap)
        out = [half for place, line in enumerate(lines) for half in cut.get(place, [line])]
        return by_columns(out, gutter)

    def _line_gaps(
        self, handle: Any, found: PageLines, place: int
    ) -> list[tuple[int, int, float, float]]:
        line = found.lines[place]
        return self._gaps(
            handle, line.text, found.starts[place], found.exact, _GUTTER_EM * line.size
        )

    def _font_of(self, text_object: int | None) -> Font:
        pointer = self._get_font(text_object) if text_object else None
        if not pointer:
            return NO_FONT
        font = self._fonts.get(pointer)
        if font is None:
            name = _font_name(pointer)
            font = self._named.get(name)
            if font is None:
                font = self._named[name] = _describe(name)
            self._fonts[pointer] = font
        return font


def _wide_lines(lines: list[Line]) -> list[int]:
    """Returns the places of lines of many words that take most of the page's width."""
    upright = [line for line in lines if line.turn == 0 and line.size > 0]
    if len(upright) < _MIN_WIDE:
        return []
    width = max(line.right for line in upright) - min(line.left for line in upright)
    return [
        place
        for place, line in enumerate(lines)
        if line.right - line.left > 0.6 * width
        and line.turn == 0
        and line.text.count(" ") >= 5
        and "\t" not in line.text
    ]


def _halves(line: Line, gap: tuple[int, int, float, float]) -> list[Line]:
    left = replace(line, text=line.text[: gap[0]], right=gap[2], last_font=line.font)
    return [left, replace(line, text=line.text[gap[1] :], left=gap[3], font=line.last_font)]


def _text(raw: Any, count: int) -> tuple[str, bool]:
    """Returns the page's text, one character per UTF-16 unit, and whether no character is missing.

    Surrogates stay apart so that positions are PDFium's.
    """
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium_c.FPDFText_GetText(raw, 0, count, buffer) - 1
    units = bytes(buffer)[: 2 * max(written, 0)]
    text = units.decode("utf-16-le", "replace")
    if len(text) != written:
        text = "".join(map(chr, buffer[: max(written, 0)]))
    return text, written == count


def whole_characters(text: str) -> str:
    """Joins surrogates that stand apart; a half without its other half becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _font_name(pointer: int) -> str:
    handle = ctypes.cast(pointer, pdfium_c.FPDF_FONT)
    buffer = ctypes.create_string_buffer(256)
    length = pdfium_c.FPDFFont_GetBaseFontName(handle, buffer, 256)
    name = buffer.raw[: max(min(length, 256) - 1, 0)].decode("utf-8", "replace")
    return _SUBSET.sub("", name)


def _describe(name: str) -> Font:
    patterns = (_BOLD, _ITALIC, _SMALL_CAPS, _MATH)
    return Font(name, *(pattern.search(name) is not None for pattern in patterns))


def _turn(lines: list[Line], main: int) -> None:
    """Turns the geometry so that the lines of the turn ``main`` run to the right."""
    for line in lines:
        if main and line.turn == main:
            along, across = line.y, line.left
            if main == 1:
                line.left, line.right, line.y = along, along + _width(line), -across
            elif main == 3:
                line.left, line.right, line.y = -along, -along + _width(line), across
            else:
                line.left, line.right, line.y = -line.left, -line.right, -line.y
        line.turn = (line.turn - main) % 4


def _width(line: Line) -> float:
    # Only the start of a turned line is known; print is about half as wide as high.
    return 0.48 * line.size * len(line.text)
