"""Lines of a page with their geometry, from PDFium's text page.

PDFium gives a page's text in one call, in content order, with a line break where the text jumps.
Geometry costs a call through ctypes per value and character, which is more than PDFium itself
needs for the whole page; so only the first and the last character of each line are measured, the
calls are made without argument conversion, and what they write is unpacked in one go.
"""

from __future__ import annotations

import ctypes
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pypdfium2.raw as pdfium_c

from corpus.pdf.columns import by_columns, common_gap, gutter_of_pairs, is_two_halves
from corpus.pdf.line import NO_FONT, Font, Line

# PDFium writes U+FFFE (older builds U+0002) where a word is hyphenated at a line's end.
_HYPHEN_MARKS = frozenset("\ufffe\x02")
# Gaps are measured on pages with the head of a table, and in rows of numbers anywhere.
_TABLE_HEAD = re.compile(r"(?:^|\n)\s?(?:Table|TABLE|Tab\.)\s[A-Z]{0,2}[\dIVX]")
_NUMERIC = frozenset("0123456789-+−±<>.~∼")
_NUMBER_ROW = re.compile(r"(?:[-+−±<>~∼.,×()\d]{1,20} ){2}")
_LINE_NUMBER = re.compile(r"\d{1,4} ")
_TEXT_BYTES = 1 << 16
_NAME_BYTES = 256
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
# What the calls write: origin x, y; box left, right, bottom, top; the first four of a matrix.
_GEOMETRY = struct.Struct("=6d4f8x")
_GAP = struct.Struct("=d16xd")


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


def _argument(raw: Any) -> Any:
    # A handle as such functions take it: made once, not at every call.
    return ctypes.c_void_p.from_param(ctypes.addressof(raw.contents))


class TextReader:
    """Reads text pages; holds the buffer that the calls write to."""

    def __init__(self) -> None:
        self._get_origin = _function("FPDFText_GetCharOrigin")
        self._get_box = _function("FPDFText_GetCharBox")
        self._get_matrix = _function("FPDFText_GetMatrix")
        self._get_size = _function("FPDFText_GetFontSize", ctypes.c_double)
        self._get_object = _function("FPDFText_GetTextObject", ctypes.c_void_p)
        self._get_font = _function("FPDFTextObj_GetFont", ctypes.c_void_p, ctypes.c_void_p)
        self._get_font_name = _function("FPDFFont_GetBaseFontName", ctypes.c_size_t)
        self._get_index = _function("FPDFText_GetCharIndexFromTextIndex")
        self._get_text = _function("FPDFText_GetText")
        self._count_characters = _function("FPDFText_CountChars")
        self._buffer = ctypes.create_string_buffer(_GEOMETRY.size)
        x, y, left, right, bottom, top, matrix = (
            ctypes.byref(self._buffer, offset) for offset in range(0, 56, 8)
        )
        self._origin_refs, self._matrix_ref = (x, y), matrix
        self._box_refs = (left, right, bottom, top)
        self._text_buffer = ctypes.create_string_buffer(_TEXT_BYTES)
        self._name_buffer = ctypes.create_string_buffer(_NAME_BYTES)
        self._fonts: dict[int, Font] = {}
        self._base_named: dict[bytes, Font] = {}
        self._named: dict[str, Font] = {}

    def read(self, raw: Any) -> list[Line]:
        """Returns the lines of a text page, PDFium's handle, in content order."""
        handle = _argument(raw)
        count = self._count_characters(handle)
        if count <= 0:
            return []
        text, exact = self._text(handle, count)
        # Fonts live as long as the page that loaded them.
        self._fonts = {}
        lines: list[Line] = []
        starts: list[int] = []
        turns: dict[int, int] = {}
        # Looking for the word first spares most pages the search.
        has_table = ("Tab" in text or "TAB" in text) and _TABLE_HEAD.search(text) is not None
        for start, stripped in _segments(text):
            line = self._measure(handle, stripped, start, exact)
            turn = line.turn
            if turn == 0 and (
                stripped[-1].isdigit() or not _PROSE.search(stripped)
                if has_table
                else stripped[0] in _NUMERIC and _NUMBER_ROW.match(stripped)
            ):
                line.text = self._tabbed(handle, stripped, start, exact, line.size)
            if line.start_size < 0.9 * line.size and (number := _LINE_NUMBER.match(stripped)):
                self._measure_behind(handle, line, start, start + number.end(), exact)
            turns[turn] = turns.get(turn, 0) + len(stripped)
            lines.append(line)
            starts.append(start)
        if 0 in turns:
            lines = self._split_at_gutter(handle, PageLines(lines, starts, exact))
            if (gutter := gutter_of_pairs(lines)) is not None:
                lines = by_columns(lines, gutter)
        if len(turns) > 1 or 0 not in turns:
            _turn(lines, max(turns, key=lambda turn: (turns[turn], -turn)))
        return lines

    def _text(self, handle: Any, count: int) -> tuple[str, bool]:
        """Returns the page's text, one character per UTF-16 unit, and whether none is missing.

        Surrogates stay apart so that positions are PDFium's.
        """
        if 2 * count + 2 > len(self._text_buffer):
            self._text_buffer = ctypes.create_string_buffer(2 * count + 2)
        written = max(self._get_text(handle, 0, count, self._text_buffer) - 1, 0)
        units = ctypes.string_at(self._text_buffer, 2 * written)
        text = units.decode("utf-16-le", "replace")
        if len(text) != written:
            text = "".join(map(chr, struct.unpack(f"<{written}H", units)))
        return text, written == count

    def _measure(self, handle: Any, text: str, start: int, exact: bool) -> Line:
        end = start + len(text) - 1
        if text[-1] in _HYPHEN_MARKS and end > start:
            end -= 1
        if not exact:
            # The text leaves out some of the page's characters, such as controls.
            start, end = self._get_index(handle, start), self._get_index(handle, end)
            end = max(start, end)
        x_ref, y_ref = self._origin_refs
        if start < 0 or not self._get_origin(handle, start, x_ref, y_ref):
            return Line(text, 0.0, 0.0, 0.0, 0.0)
        self._get_matrix(handle, start, self._matrix_ref)
        self._get_box(handle, end, *self._box_refs)
        left, y, _, right, _, _, a, b, c, d = _GEOMETRY.unpack(self._buffer)
        scale = abs(d) if c == 0 else math.hypot(c, d)
        size = end_size = scale * self._get_size(handle, start)
        first_object = self._get_object(handle, start)
        last_object = self._get_object(handle, end) if end != start else first_object
        first = last = self._font_of(first_object)
        # Most lines are one object: nothing changes in them.
        if last_object != first_object:
            last = self._font_of(last_object)
            end_size = scale * self._get_size(handle, end)
            if end_size > 1.05 * size:
                # A line that starts with a superscript: its baseline is that of its end.
                self._get_origin(handle, end, x_ref, y_ref)
                y = _GEOMETRY.unpack(self._buffer)[1]
        top_size = size if size > end_size else end_size
        if not (abs(left) + abs(right) + abs(y) < _FAR and top_size < _FAR):
            # Numbers of a broken file, NaN among them.
            return Line(text, 0.0, 0.0, 0.0, 0.0)
        if b != 0 and abs(b) > abs(a):
            return Line(text, left, y, y, size, first, first, 1 if b > 0 else 3)
        return Line(text, left, right, y, top_size, first, last, 2 if a < 0 else 0, size, end_size)

    def _measure_behind(self, handle: Any, line: Line, start: int, after: int, exact: bool) -> None:
        """Measures a line that starts with a small number from behind it."""
        if not exact:
            start, after = self._get_index(handle, start), self._get_index(handle, after)
        if self._get_origin(handle, after, *self._origin_refs):
            line.text_left = _GEOMETRY.unpack(self._buffer)[0]
            scale = line.start_size / (self._get_size(handle, start) or 1.0)
            line.size = max(line.size, scale * self._get_size(handle, after))

    def _gaps(
        self, handle: Any, text: str, start: int, exact: bool, least: float
    ) -> list[tuple[int, int, float, float]]:
        """Returns the spaces of a line wider than ``least``: place in the text, then in print."""
        gaps = []
        get_box, get_origin = self._get_box, self._get_origin
        x_ref, y_ref = self._origin_refs
        left_ref, right_ref, bottom_ref, top_ref = self._box_refs
        space = text.find(" ")
        while space >= 0:
            word = space + 1
            while text[word] == " ":
                word += 1
            before, after = start + space - 1, start + word
            if not exact:
                before, after = self._get_index(handle, before), self._get_index(handle, after)
            get_box(handle, before, left_ref, right_ref, bottom_ref, top_ref)
            if get_origin(handle, after, x_ref, y_ref):
                x, right = _GAP.unpack_from(self._buffer)
                if x - right > least:
                    gaps.append((space, word, right, x))
            space = text.find(" ", word)
        return gaps

    def _tabbed(self, handle: Any, text: str, start: int, exact: bool, size: float) -> str:
        """Puts a tab wherever a space is as wide as the gap between columns of a table."""
        parts, position = [], 0
        for gap in self._gaps(handle, text, start, exact, _CELL_GAP_EM * size):
            parts.append(text[position : gap[0]])
            position = gap[1]
        parts.append(text[position:])
        return "\t".join(parts)

    def _split_at_gutter(self, handle: Any, found: PageLines) -> list[Line]:
        """Cuts lines that run over two columns into their halves, if the page has such lines."""
        lines = found.lines
        wide = _wide_lines(lines)
        if len(wide) < _MIN_WIDE:
            return lines
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
        return self._fonts.get(pointer) or self._new_font(pointer)

    def _new_font(self, pointer: int) -> Font:
        handle = ctypes.c_void_p(pointer)
        length = self._get_font_name(handle, self._name_buffer, _NAME_BYTES)
        base_name = ctypes.string_at(self._name_buffer, max(min(length, _NAME_BYTES) - 1, 0))
        font = self._base_named.get(base_name)
        if font is None:
            # Subsets of one font are one.
            name = _SUBSET.sub("", base_name.decode("utf-8", "replace"))
            font = self._base_named[base_name] = self._named.setdefault(name, _describe(name))
        self._fonts[pointer] = font
        return font


def _wide_lines(lines: list[Line]) -> list[int]:
    """Returns the places of lines of many words that take most of the page's width."""
    upright = [line for line in lines if line.turn == 0 and line.size > 0]
    if len(upright) < _MIN_WIDE:
        return []
    width = max([line.right for line in upright]) - min([line.left for line in upright])
    least = 0.6 * width
    return [
        place
        for place, line in enumerate(lines)
        if line.right - line.left > least
        and line.turn == 0
        and line.text.count(" ") >= 5
        and "\t" not in line.text
    ]


def _segments(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines of a page's text without outer spaces, and where they start in it.

    They end at line breaks and behind hyphen marks.
    """
    text = text.replace("\r", "\n")
    for mark in _HYPHEN_MARKS:
        if mark in text:
            # This line break is none of the page's: it is not counted below.
            text = text.replace(mark, mark + "\n")
    position = 0
    for raw in text.split("\n"):
        if not raw:
            position += 1
            continue
        stripped = raw.strip()
        length = len(raw)
        marked = raw[-1] in _HYPHEN_MARKS
        if stripped and not (marked and length == 1):
            yield position if len(stripped) == length else position + raw.index(stripped), stripped
        position += length if marked else length + 1


def _halves(line: Line, gap: tuple[int, int, float, float]) -> list[Line]:
    left = replace(line, text=line.text[: gap[0]], right=gap[2], last_font=line.font)
    return [left, replace(line, text=line.text[gap[1] :], left=gap[3], font=line.last_font)]


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
