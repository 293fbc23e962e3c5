"""What a run writes step by step: metrics (part of the output) and speed (not)."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from train.spec import EVALUATION_NAME, METRICS_NAME, SPEED_NAME

STARTUP_PHASES = ("workers", "data", "engine", "resume")


class StepLog:
    """Appends lines to the metrics, the evaluations and the speed log; only worker 0 writes."""

    def __init__(self, out: Path, rank: int) -> None:
        """Opens the files; what is there stays.

        Args:
            out: folder that the run fills.
            rank: of this worker.
        """
        self._out = out
        self._files: dict[str, TextIO] = {}
        self._writes = rank == 0
        if self._writes:
            (out / SPEED_NAME).parent.mkdir(parents=True, exist_ok=True)

    def started(self, startup_seconds: dict[str, float]) -> None:
        """Writes how long a start took, and where it runs."""
        worker = {"host": socket.gethostname(), "pid": os.getpid()}
        self._write(SPEED_NAME, {"startup_seconds": startup_seconds, **worker})

    def metrics(self, line: dict[str, Any]) -> None:
        """Writes what was learned in a step: nothing that two equal runs do not share."""
        self._write(METRICS_NAME, line)

    def evaluation(self, line: dict[str, Any]) -> None:
        """Writes the loss on held-out text: nothing that two equal runs do not share."""
        self._write(EVALUATION_NAME, line)

    def speed(self, line: dict[str, Any]) -> None:
        """Writes how fast a step was."""
        self._write(SPEED_NAME, line)

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, name: str, line: dict[str, Any]) -> None:
        if not self._writes:
            return
        if name not in self._files:
            # Line buffered: progress is read while the run goes on, checkpoints copy the files.
            self._files[name] = (self._out / name).open("a", encoding="utf-8", buffering=1)
        self._files[name].write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a JSON-lines file; none where it is absent."""
    if not path.exists():
        return []
    whole = path.read_text("utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]


@contextmanager
def worker_log(out: Path, rank: int) -> Iterator[None]:
    """Writes this worker's messages to ``logs/``: Ray's own files of them are far away.

    Worker 0 writes all that the training packages say, the others warnings alone. A worker that
    says nothing leaves no file.
    """
    path = out / "logs" / f"train-{rank:05d}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    logger = logging.getLogger("train")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
