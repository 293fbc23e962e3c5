"""Notes that driver and workers leave each other beside the checkpoints.

``stop`` asks the workers to save and end; ``stopped.json`` says that they did; ``failed.json``
holds an error that would come again, so that a restart of the workers ends at once.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from core.atomic import write_json
from core.errors import AstromillError, StageError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What a scheduler sends before a time limit: Slurm by ``--signal=B:USR1@300``, others SIGTERM."""


class RunControl:
    """The notes of one run."""

    def __init__(self, folder: Path) -> None:
        """Names the files; none is written.

        Args:
            folder: of the run's checkpoints.
        """
        self._folder = folder
        self._stop = folder / "stop"
        self._stopped = folder / "stopped.json"
        self._failed = folder / "failed.json"

    def clear(self) -> None:
        """Removes the notes of an earlier start."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in (self._stop, self._stopped, self._failed):
            path.unlink(missing_ok=True)

    def ask_to_stop(self) -> None:
        """Asks the workers to save after the step they are in, and to end."""
        self._stop.touch()

    def asked_to_stop(self) -> bool:
        """Returns whether that was asked."""
        return self._stop.exists()

    def note_stop(self, step: int, total_steps: int) -> None:
        """Says that the workers ended before the run did."""
        write_json(self._stopped, {"step": step, "total_steps": total_steps})

    def stopped(self) -> tuple[int, int] | None:
        """Returns the step of such an end and the run's steps, or None."""
        note = _read(self._stopped)
        return (int(note["step"]), int(note["total_steps"])) if note else None

    @contextmanager
    def failures_noted(self) -> Iterator[None]:
        """Notes an error that is the run's own; raises at once where one was noted before."""
        note = _read(self._failed)
        if note is not None:
            raise StageError(note["what"], where=note["where"], remedy=note["remedy"])
        try:
            yield
        except AstromillError as error:
            note = {"what": error.what, "where": error.where, "remedy": error.remedy}
            write_json(self._failed, note)
            raise

    @contextmanager
    def stopped_by(self, signals: Sequence[signal.Signals] = STOP_SIGNALS) -> Iterator[None]:
        """Turns signals to this process into :meth:`ask_to_stop`, for the length of the block."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: FrameType | None) -> None:
            self.ask_to_stop()

        before = {number: signal.signal(number, ask) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
