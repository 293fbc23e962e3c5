"""The text layer of a PDF as Markdown, through PDFium.

PDFium gives lines in content order, which in papers is the order of reading: it is kept unless a
page's lines zigzag between columns. From there: line numbers off, furniture off, labels of figures
off, lines to blocks, blocks to paragraphs, headings, captions, tables, formulas and notes. Nothing
else is dropped; what cannot be told stays as a paragraph.

Superscripts and subscripts are plain adjacent text. A table whose rows all have the same cells is a
Markdown table, any other keeps its rows as lines. Formulas are the characters that the page shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from core.recipe.ocr import Ocr
from core.rejects import Reason
from corpus.pdf.blocks import split_blocks
from corpus.pdf.classify import classify, without_figure_text
from corpus.pdf.document import open_pdf
from corpus.pdf.furniture import remove_furniture
from corpus.pdf.glyphs import quality
from corpus.pdf.headings import mark_references, mark_title, refine_blocks
from corpus.pdf.hyphens import vocabulary
from corpus.pdf.joining import ReadPage, join_pages
from corpus.pdf.line import Line
from corpus.pdf.lines import TextReader
from corpus.pdf.markdown import page_markdown
from corpus.pdf.rows import merge_rows, without_line_numbers
from corpus.pdf.style import measure_style
from corpus.reading import Unreadable

METHOD = "textlayer"

_TITLE_PAGES = 3
"""A title stands on the first page, or behind a cover sheet."""


@dataclass(frozen=True)
class PageText:
    """A page as its text layer has it.

    Args:
        text: Markdown, page furniture removed.
        quality: from 0 to 1 how much of it looks like text; 0 for a page without any.
    """

    text: str
    quality: float


def read_pages(
    document: pdfium.PdfDocument, first: int = 1, last: int | None = None
) -> list[PageText]:
    """Reads the text layer of a document's pages.

    Args:
        document: open document.
        first: first page, counted from 1.
        last: last page, included; None: the document's last.

    Returns:
        One entry per page. A page that PDFium cannot read is empty, with quality 0.
    """
    reader = TextReader()
    stop = len(document) if last is None else min(last, len(document))
    lines = [_page_lines(document, number, reader) for number in range(first - 1, stop)]
    return lines_markdown(lines, starts_document=first == 1)


def lines_markdown(pages: Sequence[list[Line]], starts_document: bool = True) -> list[PageText]:
    """Returns the Markdown of pages from their lines in content order.

    Args:
        pages: measured lines.
        starts_document: whether the first page has the document's title.
    """
    scores = [quality("\n".join([line.text for line in lines])) for lines in pages]
    rows = [merge_rows(lines) for lines in without_line_numbers(pages)]
    style = measure_style(rows)
    rows = remove_furniture(rows, style.body_size)
    words = vocabulary(line.text for lines in rows for line in lines)
    texts = []
    in_references, titled = False, not starts_document
    for number, lines in enumerate(rows):
        blocks = split_blocks(without_figure_text(lines, style), style)
        classify(blocks, style)
        blocks = refine_blocks(blocks)
        if not titled and number < _TITLE_PAGES:
            titled = mark_title(blocks, style)
        blocks, in_references = mark_references(blocks, in_references)
        texts.append(page_markdown(blocks, words))
    return [
        PageText(text, score if text else 0.0) for text, score in zip(texts, scores, strict=True)
    ]


def _page_lines(document: pdfium.PdfDocument, number: int, reader: TextReader) -> list[Line]:
    # PDFium's own functions: the binding's objects that close themselves cost a few percent here.
    page = pdfium_c.FPDF_LoadPage(document.raw, number)
    if not page:
        return []
    text_page = pdfium_c.FPDFText_LoadPage(page)
    try:
        return reader.read(text_page) if text_page else []
    finally:
        if text_page:
            pdfium_c.FPDFText_ClosePage(text_page)
        pdfium_c.FPDF_ClosePage(page)


def read_pdf(
    path: Path, ocr: Ocr, first: int | None = None, last: int | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """Opens a PDF, reads its text layer and joins the pages.

    Args:
        path: the file.
        ocr: the recipe section, for its limits.
        first: first page, counted from 1; None: the document's first.
        last: last page, included; None: the document's last.

    Returns:
        The Markdown, and its page spans (:data:`core.schema.PAGE`).

    Raises:
        Unreadable: what :func:`open_pdf` raises; PDF_NO_TEXT where there is too little text.
    """
    document = open_pdf(path, ocr.max_pages, ocr.max_file_bytes)
    try:
        pages = read_pages(document, first or 1, last)
    finally:
        document.close()
    characters = sum(len(page.text) for page in pages)
    if characters < ocr.min_chars_per_page * len(pages) or not pages:
        raise Unreadable(
            Reason.PDF_NO_TEXT, f"{characters} characters on {len(pages)} pages: a scan or blank"
        )
    return join_pages(
        [
            ReadPage(number, page.text, METHOD, page.quality)
            for number, page in enumerate(pages, first or 1)
        ]
    )
