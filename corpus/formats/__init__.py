"""Readers of file formats: LaTeX, EPUB, HTML, CNXML, Markdown, text, Nougat output, PDF books.

Each is found by a kind's name and called through :func:`read`. Readers raise only
:class:`corpus.reading.Unreadable`, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.rejects import Reason
from corpus.reading import Reading, Unreadable

ENDINGS: dict[str, tuple[str, ...]] = {
    "markdown": (".md", ".markdown"),
    "text": (".txt",),
    "pdf": (".pdf",),
    "html": (".html", ".htm", ".xhtml"),
    "latex": (".tex", ".tar.gz", ".tgz", ".gz", ".zip"),
    "nougat": (".mmd",),
    "epub": (".epub",),
    "openstax": ("collection.xml", ".cnxml"),
}
"""How the names of files end, by kind; lower case."""

_BOOK_KINDS = ("openstax", "epub", "pdf", "html", "markdown", "text", "latex", "nougat")
BOOK_ENDINGS: tuple[str, ...] = tuple(
    ending for kind in _BOOK_KINDS for ending in ENDINGS[kind] if ending not in (".cnxml",)
)
"""Endings of book files. A folder's single CNXML modules belong to its collection."""


def book_kind(path: Path) -> str | None:
    """Returns the kind of a book's file, or None if its name ends in nothing known."""
    name = path.name.lower()
    return next((kind for kind in _BOOK_KINDS if name.endswith(ENDINGS[kind])), None)


def read(kind: str, path: Path, split: bool) -> Reading:
    """Reads a file.

    Args:
        kind: a key of :data:`ENDINGS`.
        path: the file; for ``latex`` also a folder.
        split: a part for each chapter, where the file has chapters.

    Raises:
        Unreadable: it gives no document.
    """
    reader = _reader(kind)
    try:
        return reader(path, split)
    except Unreadable:
        raise
    except (RecursionError, MemoryError) as error:
        raise Unreadable(
            Reason.UNREADABLE_FILE, f"{path.name}: {type(error).__name__} while reading"
        ) from error
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{path.name}: {error.strerror}") from error


def _reader(kind: str) -> Callable[[Path, bool], Reading]:
    # Imported when used: text alone needs neither lxml nor pandoc nor PDFium.
    if kind in ("markdown", "text"):
        from corpus.formats import plain

        return plain.read_markdown if kind == "markdown" else plain.read_text
    if kind == "pdf":
        from corpus.formats.pdf_outline import read_pdf_book

        return read_pdf_book
    if kind == "html":
        from corpus.formats.html import read_html

        return read_html
    if kind == "latex":
        from corpus.formats.latex import read_latex

        return read_latex
    if kind == "nougat":
        from corpus.formats.mmd import read_mmd

        return read_mmd
    if kind == "epub":
        from corpus.formats.epub import read_epub

        return read_epub
    if kind == "openstax":
        from corpus.formats.cnxml import read_openstax

        return read_openstax
    raise KeyError(f"no reader for '{kind}'")
