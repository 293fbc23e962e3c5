"""One log per run: JSON lines in ``<run>/logs/run.jsonl``, warnings also on the terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler


class _JsonLines(logging.Formatter):
    """A record as one JSON object; ``extra={"stage": ..., "shard": ...}`` goes along."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "run": self._run,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("stage", "shard"):
            if hasattr(record, name):
                entry[name] = getattr(record, name)
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


@contextmanager
def run_log(run: str, run_dir: Path, console: Console) -> Iterator[None]:
    """Logs to the run's file and shows warnings for the length of the block."""
    folder = run_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(folder / "run.jsonl", encoding="utf-8", errors="backslashreplace")
    to_file.setFormatter(_JsonLines(run))
    to_terminal = RichHandler(logging.WARNING, console, show_path=False, show_time=False)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    for handler in (to_file, to_terminal):
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in (to_file, to_terminal):
            root.removeHandler(handler)
            handler.close()
