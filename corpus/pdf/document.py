"""A PDF opened through PDFium, or the reason why it cannot be.

PDFium is not thread-safe: one process reads one document at a time.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from core.rejects import Reason
from corpus.reading import Unreadable


def open_pdf(path: Path, max_pages: int, max_file_bytes: int) -> pdfium.PdfDocument:
    """Opens a PDF; no page is read.

    Args:
        path: the file.
        max_pages: longer documents are refused, by the page count that they state.
        max_file_bytes: larger files are refused before they are opened.

    Returns:
        The document, which the caller closes.

    Raises:
        Unreadable: not a readable file, too large or long, encrypted, corrupt or without pages.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise Unreadable(Reason.UNREADABLE_FILE, str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        # A pipe would be waited on for ever.
        raise Unreadable(Reason.UNREADABLE_FILE, "not a regular file")
    if status.st_size > max_file_bytes:
        raise Unreadable(Reason.PDF_TOO_LARGE, f"{status.st_size} bytes, at most {max_file_bytes}")
    document = _opened(path)
    count = len(document)
    if 0 < count <= max_pages:
        return document
    document.close()
    if count <= 0:
        raise Unreadable(Reason.PDF_CORRUPT, "it has no pages")
    raise Unreadable(Reason.PDF_TOO_LARGE, f"{count} pages, at most {max_pages}")


def _opened(path: Path) -> pdfium.PdfDocument:
    # A PDF without pages fails with PDFium's last error, whichever file that came from: this sets
    # it to a format error.
    pdfium_c.FPDF_LoadMemDocument64(b"", 0, None)
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        encrypted = getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD
        reason = Reason.PDF_ENCRYPTED if encrypted else Reason.PDF_CORRUPT
        raise Unreadable(reason, str(error)) from error
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, str(error)) from error
