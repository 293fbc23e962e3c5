"""The text layer of a PDF as Markdown paragraphs, through PDFium.

PDFium gives characters in content order with their boxes. Lines become paragraphs by geometry: a
new one starts where the gap to the line above, the font size or a first-line indent says so.
PDFium is not thread-safe: one process reads one document at a time.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from core.rejects import Reason

METHOD = "textlayer"

_GAP_RATIO = 1.35
"""A line further below the last than this many line pitches starts a paragraph."""
_INDENT_EM = 0.8
"""A line that starts this many font sizes to the right of the last one starts a paragraph."""
_HEADING_RATIO = 1.12
"""A short paragraph set this much larger than the body is a heading."""
_HEADING_CHARS = 160

_PAGE_NUMBER = re.compile(r"[-–\s]*\d{1,4}[-–\s]*")
_BULLET = re.compile(r"[•◦▪‣]\s*")
# PDFium writes U+FFFE (older builds U+0002) where a word is hyphenated at a line's end.
_SOFT_HYPHEN = re.compile(r"[\x02\ufffe]")
# It joins the two lines there, so the place after the mark is a line's start like any other.
_LINE_END = re.compile(r"(?<=\r\n)|(?<=[\x02\ufffe])")


@dataclass(frozen=True)
class Line:
    """One line of a page: text, left edge and baseline in points, font size in points."""

    text: str
    left: float
    baseline: float
    size: float


class UnreadablePdf(Exception):
    """A PDF that gives no document; carries the reject reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_pdf(
    path: Path, max_pages: int, min_chars_per_page: int
) -> tuple[str, list[dict[str, Any]]]:
    """Reads a PDF's text layer.

    Returns:
        The Markdown, and its page spans ``{page (from 1), start_char, end_char, method}``.

    Raises:
        UnreadablePdf: encrypted, corrupt, too long, without pages or without text.
    """
    document = _open(path)
    try:
        count = len(document)
        if count == 0:
            raise UnreadablePdf(Reason.PDF_CORRUPT, "it has no pages")
        if count > max_pages:
            raise UnreadablePdf(Reason.PDF_TOO_LARGE, f"{count} pages, at most {max_pages}")
        texts = [page_markdown(_lines(document, number)) for number in range(count)]
    except pdfium.PdfiumError as error:
        raise UnreadablePdf(Reason.PDF_CORRUPT, str(error)) from error
    finally:
        document.close()
    characters = sum(len(text) for text in texts)
    if characters < min_chars_per_page * count:
        raise UnreadablePdf(
            Reason.PDF_NO_TEXT, f"{characters} characters on {count} pages: a scan or blank"
        )
    return _join(texts)


def _open(path: Path) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        encrypted = getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD
        reason = Reason.PDF_ENCRYPTED if encrypted else Reason.PDF_CORRUPT
        raise UnreadablePdf(reason, str(error)) from error
    except OSError as error:
        raise UnreadablePdf(Reason.UNREADABLE_FILE, str(error)) from error


def _lines(document: pdfium.PdfDocument, number: int) -> list[Line]:
    page = document[number]
    text_page = page.get_textpage()
    try:
        lines, position = [], 0
        for raw in _LINE_END.split(text_page.get_text_range(errors="replace")):
            text = raw.strip()
            if text:
                start = position + len(raw) - len(raw.lstrip())
                lines.append(_measure(text_page, text, start))
            # Positions count UTF-16 units, as PDFium does.
            position += len(raw.encode("utf-16-le")) // 2
        return lines
    finally:
        text_page.close()
        page.close()


def _measure(text_page: pdfium.PdfTextPage, text: str, position: int) -> Line:
    x, y = ctypes.c_double(), ctypes.c_double()
    # The text leaves out some of the page's characters, such as controls: the two counts differ.
    index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(text_page, position)
    if not pdfium_c.FPDFText_GetCharOrigin(text_page, index, x, y):
        return Line(text, 0.0, 0.0, 0.0)
    return Line(text, x.value, y.value, float(pdfium_c.FPDFText_GetFontSize(text_page, index)))


def page_markdown(lines: list[Line]) -> str:
    """Joins a page's lines into paragraphs and headings, separated by blank lines."""
    lines = _without_page_number(lines)
    if not lines:
        return ""
    body = statistics.median(line.size for line in lines)
    pitches = [
        above.baseline - below.baseline
        for above, below in itertools.pairwise(lines)
        if 0 < above.baseline - below.baseline < 3 * max(body, 1.0)
    ]
    pitch = statistics.median(pitches) if pitches else 0.0
    paragraphs = [[lines[0]]]
    for line in lines[1:]:
        if _starts_paragraph(paragraphs[-1], line, pitch):
            paragraphs.append([line])
        else:
            paragraphs[-1].append(line)
    return "\n\n".join(_render(paragraph, body) for paragraph in paragraphs)


def _without_page_number(lines: list[Line]) -> list[Line]:
    """Drops the first or last line when it is only a page number."""
    if lines and _PAGE_NUMBER.fullmatch(lines[0].text):
        lines = lines[1:]
    if lines and _PAGE_NUMBER.fullmatch(lines[-1].text):
        lines = lines[:-1]
    return lines


def _starts_paragraph(paragraph: list[Line], line: Line, pitch: float) -> bool:
    last = paragraph[-1]
    if _SOFT_HYPHEN.search(last.text[-1:]):
        return False
    if _BULLET.match(line.text):
        return True
    if abs(line.size - last.size) > 0.1 * max(last.size, line.size, 1.0):
        return True
    drop = last.baseline - line.baseline
    if drop < -pitch:
        # Upwards: the next column. The paragraph goes on when its last line is unfinished.
        return last.text[-1:] in ".!?:"
    if drop > _GAP_RATIO * pitch:
        return True
    # A wrapped line starts at the left of the block; a first line is indented.
    block = _last_column(paragraph, pitch)
    block_left = min(part.left for part in block)
    return line.left > block_left + _INDENT_EM * max(line.size, 1.0) and len(block) > 1


def _last_column(paragraph: list[Line], pitch: float) -> list[Line]:
    """Returns the lines after the last upward step: a paragraph may run over two columns."""
    for number in range(len(paragraph) - 1, 0, -1):
        if paragraph[number - 1].baseline - paragraph[number].baseline < -pitch:
            return paragraph[number:]
    return paragraph


def _render(paragraph: list[Line], body_size: float) -> str:
    text = ""
    for line in paragraph:
        if _SOFT_HYPHEN.search(text[-1:]):
            text = text[:-1] + line.text
        else:
            text = f"{text} {line.text}" if text else line.text
    text = _SOFT_HYPHEN.sub("", text)
    if _BULLET.match(text):
        return _BULLET.sub("- ", text, count=1)
    size = paragraph[0].size
    if size > _HEADING_RATIO * body_size and len(text) <= _HEADING_CHARS:
        return f"## {text}"
    return text


def _join(texts: list[str]) -> tuple[str, list[dict[str, Any]]]:
    parts: list[str] = []
    pages: list[dict[str, Any]] = []
    position = 0
    for number, text in enumerate(texts, 1):
        if text and position:
            parts.append("\n\n")
            position += 2
        parts.append(text)
        pages.append(
            {
                "page": number,
                "start_char": position,
                "end_char": position + len(text),
                "method": METHOD,
            }
        )
        position += len(text)
    return "".join(parts), pages
