"""Documents through Nougat: pages of all of a shard's documents in common batches.

    render processes -> prepared pages, few ahead -> batches -> retries -> fallback -> documents

A page that Nougat cannot read falls back to its text layer where that is good; a page that
nothing can read stays empty, and a document with too many of those is given up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.recipe.ocr import Ocr
from core.rejects import Reason
from corpus.nougat.ladder import Ladder, PageReading
from corpus.nougat.model import NougatModel, load_model
from corpus.nougat.pages import PageSource, Renderer
from corpus.ocr_backends import (
    NOT_READ,
    Outcome,
    Pages,
    Request,
    fall_back,
    image_files,
    pdf_worker,
    within_budget,
)
from corpus.pdf.joining import ReadPage
from corpus.pdf_worker import PdfLimits
from corpus.reading import Unreadable

NOUGAT, NOUGAT_RETRY = "nougat", "nougat_retry"

HARD_FAULTS = 3
"""No more of a PDF is rendered after so many pages on which the reader hung or crashed."""


@dataclass
class _Book:
    """A document while its pages are read; ``None`` in ``pages``: not read yet."""

    request: Request
    pages: dict[int, ReadPage | None] = field(default_factory=dict)
    remains: dict[int, str] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)
    hard_faults: int = 0
    stopped: Unreadable | None = None
    retries: int = 0
    fault: Unreadable | None = None


class NougatBackend:
    """The transformers port of Nougat.

    Args:
        ocr: the recipe section.
        model: folder of the model, or its name on the hub.
        seed: the recipe's.

    Raises:
        EngineError: the model cannot be loaded.
    """

    def __init__(self, ocr: Ocr, model: str, seed: int) -> None:
        self._ocr = ocr
        self._seed = seed
        self._model: NougatModel = load_model(model, ocr.nougat.max_new_tokens)
        self._renderer = Renderer(
            ocr.nougat.render_processes,
            PdfLimits(ocr.max_pages, ocr.max_file_bytes),
            ocr.timeout_seconds,
            ocr.nougat.dpi,
            self._model.prepare,
        )

    def close(self) -> None:
        """Ends the render processes."""
        self._renderer.close()

    def read(self, requests: Sequence[Request]) -> list[Outcome]:
        """Reads documents, their pages batched together."""
        books = [_Book(request) for request in requests]
        settings = self._ocr.nougat
        ladder = Ladder(
            self._model.read,
            settings.retry_temperatures,
            settings.batch_pages,
            self._seed,
            lambda key, reading: _take(books[key[0]], key[1], reading),
        )
        ahead = settings.batch_pages + settings.render_processes
        for source, prepared in self._renderer.stream(self._sources(books), ahead):
            book = books[source.document]
            if isinstance(prepared, Unreadable):
                _give_up(book, source.page, prepared)
            elif prepared is None:
                book.pages[source.page] = ReadPage(source.page, "", NOUGAT, None)
            else:
                ladder.add((source.document, source.page), prepared)
        ladder.flush()
        return [self._outcome(book) for book in books]

    def _sources(self, books: list[_Book]) -> Iterator[PageSource]:
        for number, book in enumerate(books):
            try:
                sources = self._pages_of(number, book.request)
            except Unreadable as error:
                book.fault = error
                continue
            book.pages = {source.page: None for source in sources}
            for source in sources:
                if book.stopped is None:
                    yield source

    def _pages_of(self, number: int, request: Request) -> list[PageSource]:
        worker = pdf_worker(self._ocr)
        if not request.is_images:
            pages = request.page_range(worker.page_count(request.path))
            return [PageSource(number, page, request.path) for page in pages]
        pictures = []
        for file in image_files(request.path):
            frames = worker.frame_count(file) if file.suffix.lower().startswith(".tif") else 1
            pictures += [(file, frame) for frame in range(1, frames + 1)]
            if len(pictures) > self._ocr.max_pages:
                raise Unreadable(
                    Reason.PDF_TOO_LARGE, f"more than {self._ocr.max_pages} page images"
                )
        return [
            PageSource(number, page, *pictures[page - 1])
            for page in request.page_range(len(pictures))
        ]

    def _outcome(self, book: _Book) -> Outcome:
        if book.fault is not None:
            return book.fault
        missing = [number for number, page in book.pages.items() if page is None]
        book.pages.update(fall_back(self._ocr, book.request, missing))
        pages = [
            page or ReadPage(number, "", NOT_READ, None) for number, page in book.pages.items()
        ]
        outcome = within_budget(
            Pages(pages, book.retries),
            self._ocr.nougat.max_failed_share,
            book.why,
            book.remains,
        )
        return book.stopped if book.stopped and isinstance(outcome, Unreadable) else outcome


def _take(book: _Book, number: int, reading: PageReading) -> None:
    attempt = reading.attempt
    book.retries += reading.retries
    if reading.clean:
        method = NOUGAT_RETRY if reading.retries else NOUGAT
        book.pages[number] = ReadPage(number, attempt.text, method, attempt.quality)
    else:
        book.why[number] = str(attempt.ending)
        book.remains[number] = attempt.text


def _give_up(book: _Book, number: int, fault: Unreadable) -> None:
    book.why[number] = f"was not rendered ({fault.detail})"
    if fault.reason is Reason.PDF_TIMEOUT or "crashed" in fault.detail:
        book.hard_faults += 1
        if book.hard_faults >= HARD_FAULTS and book.stopped is None:
            detail = f"given up after {HARD_FAULTS} pages; page {number}: {fault.detail}"
            book.stopped = Unreadable(fault.reason, detail)
