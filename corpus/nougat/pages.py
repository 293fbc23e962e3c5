"""Pages as pixels, rendered ahead of the model by processes of their own, in order."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from corpus.nougat.images import PagePixels
from corpus.pdf_worker import Image, PdfLimits, PdfWorker
from corpus.reading import Unreadable

Prepared = PagePixels | Unreadable | None
"""What the model takes; why there is none; or None for a blank page."""


@dataclass(frozen=True)
class PageSource:
    """Where a page's picture comes from.

    Args:
        document: number of the document in its shard.
        page: of the document, from 1.
        path: the PDF, or the page's own image file.
        frame: None: ``page`` of a PDF; else which picture of the image file, from 1.
    """

    document: int
    page: int
    path: Path
    frame: int | None = None


class Renderer:
    """Reading processes, each driven by a thread that waits for it and then fits the pixels.

    Args:
        processes: how many.
        limits: of PDFs.
        timeout_seconds: longest time for one page.
        dpi: resolution.
        prepare: pixels to what the model takes.
    """

    def __init__(
        self,
        processes: int,
        limits: PdfLimits,
        timeout_seconds: float,
        dpi: int,
        prepare: Callable[[Image], PagePixels | None],
    ) -> None:
        self._workers = [PdfWorker(limits, timeout_seconds) for _ in range(processes)]
        self._free: queue.SimpleQueue[PdfWorker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(processes, "render")
        self._dpi = dpi
        self._prepare = prepare

    def stream(
        self, sources: Iterator[PageSource], ahead: int
    ) -> Iterator[tuple[PageSource, Prepared]]:
        """Yields every page in the order of ``sources``, at most ``ahead`` of them in memory.

        Args:
            sources: asked for the next page only when there is room.
            ahead: pages rendered or being rendered before they are taken.
        """
        waiting: deque[tuple[PageSource, Future[Prepared]]] = deque()

        def start(count: int) -> None:
            for source in islice(sources, count):
                waiting.append((source, self._threads.submit(self._one, source)))

        try:
            start(ahead)
            while waiting:
                source, future = waiting.popleft()
                prepared = future.result()
                start(1)
                yield source, prepared
        finally:
            for _, future in waiting:
                future.cancel()

    def close(self) -> None:
        """Ends the processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _one(self, source: PageSource) -> Prepared:
        worker = self._free.get()
        try:
            if source.frame is None:
                image = worker.render(source.path, source.page, self._dpi)
            else:
                image = worker.image(source.path, source.frame)
        except Unreadable as error:
            return error
        finally:
            self._free.put(worker)
        return self._prepare(image)
