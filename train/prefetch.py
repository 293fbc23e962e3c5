"""Batches read ahead by a thread while the engine works on the ones before."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator

from train.data import MicroBatch

_PUT_SECONDS = 0.1
"""How soon the reading thread notices that the loop has ended."""


class Prefetch(Iterator[list[MicroBatch]]):
    """Reads batches ahead in a thread, so that the disk works while the engine does."""

    def __init__(self, batches: Iterable[list[MicroBatch]], ahead: int = 2) -> None:
        """Starts reading.

        Args:
            batches: of :func:`rank_batches`.
            ahead: steps held in memory besides the one that is trained on.
        """
        self.wait_seconds = 0.0
        """How long the last batch was waited for."""
        self._queue: queue.Queue[list[MicroBatch] | Exception | None] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(batches,), daemon=True, name="prefetch"
        )
        self._thread.start()

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def __next__(self) -> list[MicroBatch]:
        """Returns the next step's micro batches.

        Raises:
            InputError: they could not be read.
        """
        began = time.perf_counter()
        found = self._queue.get()
        self.wait_seconds = time.perf_counter() - began
        if found is None:
            # Asked again, it must end again instead of waiting.
            self._queue.put(None)
            raise StopIteration
        if isinstance(found, Exception):
            raise found
        return found

    def _fill(self, batches: Iterable[list[MicroBatch]]) -> None:
        try:
            for batch in batches:
                if not self._put(batch):
                    return
            self._put(None)
        # Whatever it is, it is raised where the batch is asked for.
        except Exception as error:
            self._put(error)

    def _put(self, item: list[MicroBatch] | Exception | None) -> bool:
        """Waits for room; returns False where nobody will ask any more."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_PUT_SECONDS)
                return True
            except queue.Full:
                continue
        return False
