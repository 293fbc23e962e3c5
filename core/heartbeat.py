"""How far a run is, in a file of the run folder: for whoever looks on from elsewhere.

``logs/progress.json`` is written when a stage begins, at most once a second while units are done,
and every few seconds as a sign of life.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from core.atomic import write_json
from core.errors import Paused
from core.secrets import redact

log = logging.getLogger(__name__)

PROGRESS_NAME = "logs/progress.json"
BEAT_SECONDS = 5.0

_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Heartbeat:
    """How far a run is.

    Args:
        state: ``running``, ``done``, ``stopped`` or ``failed``.
        stage: that is under way; empty before the first.
        number, count: which of the run's stages it is.
        done, total: units of the stage.
        rows: that this start has read in it.
        note: of the stage.
        stage_started, updated: Unix seconds.
        first_done: units that were done when the stage began.
        host, pid: of the driver.
        message: why it ended, where it failed.
    """

    state: str = "running"
    stage: str = ""
    number: int = 0
    count: int = 0
    done: int = 0
    total: int = 0
    rows: int = 0
    note: str = ""
    stage_started: float = 0.0
    updated: float = 0.0
    first_done: int | None = None
    host: str = ""
    pid: int = 0
    message: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Estimate for the stage, from the units done since it began; None: too early to say."""
        finished = self.done - (self.first_done or 0)
        if finished <= 0 or self.total <= self.done:
            return None
        return (self.updated - self.stage_started) / finished * (self.total - self.done)


class ProgressFile:
    """A listener that keeps the file. For use in a ``with``, which says how the run ended.

    Nothing is written before a stage begins: only the driver that holds the run folder gets there.
    """

    def __init__(self, run_dir: Path) -> None:
        """Starts with nothing done.

        Args:
            run_dir: of the run.
        """
        self._path = run_dir / PROGRESS_NAME
        self._beat = Heartbeat(host=socket.gethostname(), pid=os.getpid())
        self._written = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._thread.is_alive():
            return
        self._ended.set()
        self._thread.join()
        state = "done" if error is None else "failed"
        if isinstance(error, KeyboardInterrupt | Paused):
            state = "stopped"
        with self._lock:
            self._beat = replace(self._beat, state=state, message=redact(str(error or "")))
        self._write()

    def stage(self, name: str, number: int, count: int) -> None:
        """Stage ``number`` of ``count`` begins."""
        with self._lock:
            self._beat = Heartbeat(
                stage=name,
                number=number,
                count=count,
                stage_started=time.time(),
                host=self._beat.host,
                pid=self._beat.pid,
            )
        self._write()
        if not self._thread.is_alive():
            self._thread.start()

    def units(self, done: int, total: int, rows: int, note: str) -> None:
        """``done`` of ``total`` units of the stage are done."""
        with self._lock:
            first = self._beat.first_done if self._beat.first_done is not None else done
            self._beat = replace(
                self._beat, done=done, total=total, rows=rows, note=note, first_done=first
            )
        if time.monotonic() - self._written >= _LEAST_SECONDS:
            self._write()

    def _go_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with self._lock:
            self._beat = replace(self._beat, updated=time.time())
            beat = self._beat
        try:
            write_json(self._path, asdict(beat))
        except OSError as error:
            # Whoever looks on must do without; the run goes on.
            log.warning("progress cannot be written: %s", error)


def read_heartbeat(run_dir: Path) -> Heartbeat | None:
    """Returns how far a run is, or None where none has been started."""
    try:
        return Heartbeat(**json.loads((run_dir / PROGRESS_NAME).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
