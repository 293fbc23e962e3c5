"""A worker that stops making progress: what all its threads do is written, and the run ends.

A collective operation whose partner is gone, a file system that does not answer: such a step never
ends, and the hours of all accelerators with it.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType

log = logging.getLogger(__name__)

HANG_EXIT_CODE = 75
"""Of a worker that ends itself: "temporary failure" in ``sysexits.h``; starting again may help."""

_LOOKS_PER_LIMIT = 20
_LONGEST_PAUSE_SECONDS = 10.0
_DUMP_SECONDS = 30.0
"""The stacks may take so long to be written; then the process ends without them."""


class Watchdog:
    """Ends the process when :meth:`alive` is not called for too long. For use in a ``with``.

    Args:
        limit_seconds: longest time between two signs of life.
        dump: file that the stacks of all threads are appended to.
        what: named in the log.
    """

    def __init__(self, limit_seconds: float, dump: Path, what: str) -> None:
        self._limit_seconds = limit_seconds
        self._dump = dump
        self._what = what
        self._last = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self.alive()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def alive(self) -> None:
        """Says that the worker goes on."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        pause = min(_LONGEST_PAUSE_SECONDS, self._limit_seconds / _LOOKS_PER_LIMIT)
        while not self._done.wait(pause):
            silent = time.monotonic() - self._last
            if silent > self._limit_seconds:
                self._end(silent)

    def _end(self, silent: float) -> None:
        # The file system may be what hangs: the end does not wait for the dump.
        end = threading.Timer(_DUMP_SECONDS, os._exit, [HANG_EXIT_CODE])
        end.daemon = True
        end.start()
        log.error(
            "%s: no step for %.0f s; the stacks of all threads are in %s",
            self._what,
            silent,
            self._dump,
        )
        self._dump.parent.mkdir(parents=True, exist_ok=True)
        with self._dump.open("a", encoding="utf-8") as file:
            file.write(f"{self._what}: no step for {silent:.0f} s\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
        # Not sys.exit: the thread that hangs would be waited for.
        os._exit(HANG_EXIT_CODE)


def stragglers(seconds: list[float], factor: float) -> list[int]:
    """Returns the workers whose own part of a step took ``factor`` times the median or more.

    Args:
        seconds: each worker's own time, without waiting for others; by rank.
        factor: from which on a worker is one.
    """
    if len(seconds) < 2:
        return []
    ordered = sorted(seconds)
    # The lower median: of two workers, the faster one is the measure.
    middle = ordered[(len(ordered) - 1) // 2]
    return [rank for rank, own in enumerate(seconds) if own >= factor * middle and own > 0]
