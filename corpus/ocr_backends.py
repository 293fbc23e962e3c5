"""What every way of reading pages shares, and the simplest one: a PDF's own text layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.recipe.ocr import Ocr
from core.rejects import Reason
from corpus.pdf.joining import ReadPage
from corpus.pdf_worker import PdfLimits, PdfWorker, shared_worker
from corpus.reading import Unreadable

TEXTLAYER = "textlayer"
NOT_READ = "none"
"""Method of a page that nothing could read; its text is empty."""

MIN_TEXTLAYER_QUALITY = 0.5
"""A text layer of which less than half looks like text is worse than a gap."""
_TEXT_CHARS = 2000
"""How much of a rejected document's text is kept for a person to look at."""

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Request:
    """A document to read.

    Args:
        path: a PDF, an image file, or a folder of page images.
        first_page: from 1; None: the first one.
        last_page: included; None: the last one.
    """

    path: Path
    first_page: int | None = None
    last_page: int | None = None

    @property
    def is_images(self) -> bool:
        """Whether its pages are image files."""
        return self.path.suffix.lower() in IMAGE_ENDINGS or self.path.is_dir()

    def page_range(self, count: int) -> range:
        """Returns the numbers of its pages in a file of ``count`` pages.

        Raises:
            Unreadable: the file has none of them.
        """
        first, last = max(1, self.first_page or 1), min(self.last_page or count, count)
        if first > last:
            raise Unreadable(
                Reason.MISSING_PART,
                f"pages {first} to {self.last_page or count}, but the file has {count}",
            )
        return range(first, last + 1)


@dataclass(frozen=True)
class Pages:
    """A document that was read.

    Args:
        pages: in order. One may stand for several, where only the whole was read.
        retries: pages read once more, each time counted.
        shared: pages beyond the first of those that share an entry.
    """

    pages: list[ReadPage]
    retries: int = 0
    shared: int = 0


Outcome = Pages | Unreadable


class Backend(Protocol):
    """A way to read documents."""

    def read(self, requests: Sequence[Request]) -> list[Outcome]:
        """Reads documents; returns one outcome each, in order."""
        ...

    def close(self) -> None:
        """Ends its processes."""
        ...


def pdf_worker(ocr: Ocr) -> PdfWorker:
    """Returns this process's reader of PDFs, shared by all that need one."""
    return shared_worker(PdfLimits(ocr.max_pages, ocr.max_file_bytes), ocr.timeout_seconds)


class TextLayer:
    """The text that PDFs carry."""

    def __init__(self, ocr: Ocr) -> None:
        self._ocr = ocr

    def read(self, requests: Sequence[Request]) -> list[Outcome]:
        """Reads documents one by one."""
        return [self._outcome(request) for request in requests]

    def close(self) -> None:
        """Nothing to end: the reading process is shared."""

    def _outcome(self, request: Request) -> Outcome:
        try:
            if request.is_images:
                raise Unreadable(
                    Reason.PDF_NO_TEXT, "page images carry no text: read them with backend nougat"
                )
            pages = read_textlayer(pdf_worker(self._ocr), request)
        except Unreadable as error:
            return error
        characters = sum(len(page.text) for page in pages)
        if characters < self._ocr.min_chars_per_page * len(pages):
            return Unreadable(
                Reason.PDF_NO_TEXT,
                f"{characters} characters on {len(pages)} pages: a scan or blank",
            )
        return Pages(pages)


def read_textlayer(worker: PdfWorker, request: Request) -> list[ReadPage]:
    """Returns the text layer of a PDF's pages.

    Raises:
        Unreadable: it cannot be opened or read, or takes too long.
    """
    numbers = request.page_range(worker.page_count(request.path))
    texts = worker.text_pages(request.path, numbers[0], numbers[-1])
    return [
        ReadPage(number, page.text, TEXTLAYER, page.quality)
        for number, page in zip(numbers, texts, strict=True)
    ]


def fall_back(ocr: Ocr, request: Request, missing: Sequence[int]) -> dict[int, ReadPage]:
    """Returns the text layers of pages that another method could not read, where they are good.

    Args:
        ocr: the recipe section; ``nougat.fallback`` may switch this off.
        request: the document.
        missing: numbers of its pages.
    """
    if not missing or ocr.nougat.fallback != TEXTLAYER or request.is_images:
        return {}
    try:
        # All pages: what is a running head shows only beside other pages.
        pages = read_textlayer(pdf_worker(ocr), request)
    except Unreadable:
        return {}
    return {
        page.number: page
        for page in pages
        if page.number in set(missing)
        and (page.quality is None or page.quality >= MIN_TEXTLAYER_QUALITY)
        and len(page.text.strip()) >= max(1, ocr.min_chars_per_page)
    }


def within_budget(
    outcome: Pages,
    max_failed_share: float,
    why: dict[int, str] | None = None,
    remains: dict[int, str] | None = None,
) -> Outcome:
    """Returns the document, or the fault that too many of its pages could not be read.

    Args:
        outcome: the document; pages with method ``none`` have failed.
        max_failed_share: of pages that may fail.
        why: of failed pages, by number.
        remains: what could be read of failed pages, by number, for a person to look at.
    """
    failed = [page.number for page in outcome.pages if page.method == NOT_READ]
    total = len(outcome.pages) + outcome.shared
    if len(failed) <= max_failed_share * total:
        return outcome
    some = ", ".join(f"page {n} {(why or {}).get(n, 'was given up')}" for n in failed[:5])
    more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
    kept = (text for n in failed if (text := (remains or {}).get(n)))
    return Unreadable(
        Reason.OCR_FAILED,
        f"{len(failed)} of {total} pages could not be read: {some}{more}",
        "\n\n".join(kept)[:_TEXT_CHARS] or None,
    )


def image_files(path: Path) -> list[Path]:
    """Returns the page images of a folder, ``p2`` before ``p10``; of an image file, itself.

    Raises:
        Unreadable: there are none, or the folder cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        files = [
            child
            for child in path.iterdir()
            if child.suffix.lower() in IMAGE_ENDINGS
            and not child.name.startswith(".")
            and child.is_file()
        ]
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, str(error)) from error
    if not files:
        raise Unreadable(Reason.UNREADABLE_FILE, "the folder has no page images")
    return sorted(files, key=lambda file: (_natural(file.name), file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    # Digits compare as numbers; [0-9] and not \d, which int() may refuse.
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if n % 2 else (0, part) for n, part in enumerate(parts)]
