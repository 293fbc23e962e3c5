"""What a run writes step by step: metrics (part of the output) and speed (not)."""

from __future__ import annotations

import json
import os
import socket
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from train.spec import METRICS_NAME, SPEED_NAME

STARTUP_PHASES = ("workers", "data", "engine", "resume")


class StepLog:
    """Appends a line per step to the metrics and to the speed log; only worker 0 writes."""

    def __init__(self, out: Path, rank: int, began: list[float]) -> None:
        """Opens the files; what a checkpoint put there stays.

        Args:
            out: folder that the run fills.
            rank: of this worker.
            began: ``time.time()`` at the start and at the end of each of :data:`STARTUP_PHASES`.
        """
        self._metrics: TextIO | None = None
        self._speed: TextIO | None = None
        if rank == 0:
            (out / SPEED_NAME).parent.mkdir(parents=True, exist_ok=True)
            # Line buffered: progress is read while the run goes on, checkpoints copy the file.
            self._metrics = (out / METRICS_NAME).open("a", encoding="utf-8", buffering=1)
            self._speed = (out / SPEED_NAME).open("a", encoding="utf-8", buffering=1)
            seconds = [round(b - a, 3) for a, b in pairwise(began)]
            startup = dict(zip(STARTUP_PHASES, seconds, strict=True))
            worker = {"host": socket.gethostname(), "pid": os.getpid()}
            self._write(self._speed, {"startup_seconds": startup, **worker})
        self._last = time.perf_counter()

    def __enter__(self) -> StepLog:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._metrics, self._speed):
            if file is not None:
                file.close()

    def metrics(self, line: dict[str, Any]) -> None:
        """Writes what was learned in a step: nothing that two equal runs do not share."""
        self._write(self._metrics, line)

    def speed(self, step: int, tokens: int, parts: dict[str, float]) -> None:
        """Writes how fast a step was, from the end of the one before to now.

        Args:
            step: its number.
            tokens: in the global batch.
            parts: seconds of it that were not training, by name.
        """
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        line = {
            "step": step,
            "seconds": round(seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
            **{f"{name}_seconds": round(value, 4) for name, value in parts.items()},
        }
        self._write(self._speed, line)

    def _write(self, file: TextIO | None, line: dict[str, Any]) -> None:
        if file is not None:
            file.write(json.dumps(line) + "\n")
