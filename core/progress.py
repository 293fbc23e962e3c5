"""Progress of a run: bars on a terminal, a line now and then in a log file.

One bar per stage with what is done, rows per second and the time left. Stages report through the
runner and print nothing themselves. What the bars show is told to listeners, too: a file that
``astromill status --watch`` reads, the cluster's metrics.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LOG_EVERY_SECONDS = 10.0


class Listener(Protocol):
    """Hears how far a run is."""

    def stage(self, name: str, number: int, count: int) -> None:
        """Stage ``number`` of ``count`` begins."""

    def units(self, done: int, total: int, rows: int, note: str) -> None:
        """``done`` of ``total`` units of the stage are done; ``rows`` were read in this start."""


class StageProgress:
    """The bar of one stage."""

    def __init__(
        self,
        console: Console,
        name: str,
        progress: Progress | None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._console = console
        self._name = name
        self._progress = progress
        self._listeners = listeners
        self._task = progress.add_task(name, total=None, note="") if progress else None
        self._started = time.monotonic()
        self._logged = self._started

    def update(self, done: int, total: int, note: str = "", rows: int = 0) -> None:
        """Shows ``done`` of ``total``, and a short note or the speed of reading ``rows``."""
        note = note or self.rate(rows)
        for listener in self._listeners:
            listener.units(done, total, rows, note)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, note=note)
            return
        now = time.monotonic()
        if now - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = now
            self._console.print(f"  {self._name}: {done}/{total} {note}".rstrip(), highlight=False)

    def rate(self, rows: int) -> str:
        """Returns rows per second since the stage began, for the note."""
        seconds = time.monotonic() - self._started
        return f"{rows / seconds:,.0f} rows/s" if seconds > 0.5 and rows else ""


class Reporter:
    """Where a run tells the user what happens; everything goes to standard error."""

    def __init__(self, console: Console | None = None, listeners: Sequence[Listener] = ()) -> None:
        self.console = console or Console(stderr=True)
        self._listeners = listeners

    @contextmanager
    def stage(self, name: str, number: int, count: int) -> Iterator[StageProgress]:
        """Shows a bar for the length of the block; ``number`` of ``count`` stages."""
        label = f"[{number}/{count}] {name}"
        for listener in self._listeners:
            listener.stage(name, number, count)
        if not self.console.is_terminal:
            self.console.print(f"{label} ...", highlight=False, markup=False)
            yield StageProgress(self.console, name, None, self._listeners)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield StageProgress(self.console, label, progress, self._listeners)

    def line(self, text: str) -> None:
        """Writes one line; rich markup allowed."""
        self.console.print(text, highlight=False)
