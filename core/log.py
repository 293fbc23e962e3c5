"""One log per run: JSON lines in ``<run>/logs/run.jsonl``, warnings also on the terminal.

What is logged in a Ray worker travels back with the worker's result and is written here too.
Secrets do not: each line passes :func:`core.secrets.redact`, in the worker already.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, ConsoleRenderable
from rich.logging import RichHandler

from core.secrets import redact

_PACKAGES = ("core", "corpus", "synth", "train", "merge", "eval", "ray_jobs")
"""Whose progress is worth a line; of other packages, warnings are."""
_RECORDS_PER_UNIT = 200
_SHOWN_PER_STAGE = 5
"""Warnings of a stage's workers on the terminal; the file has all."""


@dataclass(frozen=True)
class WorkerRecord:
    """A log record on its way from a worker."""

    logger: str
    level: int
    message: str
    created: float
    """Unix seconds."""


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
            "message": redact(_message(record)),
        }
        for name in ("stage", "shard"):
            if hasattr(record, name):
                entry[name] = getattr(record, name)
        if record.exc_info:
            entry["trace"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # A library's arguments do not fit its text; that must not cost the unit.
        return f"{record.msg} {record.args}"


class _Collector(logging.Handler):
    """Keeps records, up to a limit."""

    def __init__(self, found: list[WorkerRecord]) -> None:
        super().__init__()
        self._found = found
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._found) < _RECORDS_PER_UNIT:
            message = _message(record)
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            found = WorkerRecord(record.name, record.levelno, redact(message), record.created)
            self._found.append(found)
            return
        # The first one that does not fit takes the place of the last one that did.
        self._lost = max(self._lost, 1) + 1
        last = self._found[-1]
        text = f"and {self._lost:,} more records"
        self._found[-1] = WorkerRecord(__name__, logging.WARNING, text, last.created)


@contextmanager
def collected() -> Iterator[list[WorkerRecord]]:
    """Collects what is logged in this process for the length of the block."""
    found: list[WorkerRecord] = []
    handler = _Collector(found)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in _PACKAGES}
    root.addHandler(handler)
    for name in _PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield found
    finally:
        root.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def relay(records: Iterable[WorkerRecord], stage: str, shard: int | None = None) -> None:
    """Logs what a worker has logged, here, with its stage and shard."""
    for found in records:
        values = {
            "name": found.logger,
            "levelno": found.level,
            "levelname": logging.getLevelName(found.level),
            "msg": found.message,
            "created": found.created,
            "stage": stage,
            "from_worker": True,
        }
        if shard is not None:
            values["shard"] = shard
        logging.getLogger(found.logger).handle(logging.makeLogRecord(values))


class _Terminal(RichHandler):
    """Warnings for a person, without secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = _message(record), ()
        super().emit(record)

    def render_message(self, record: logging.LogRecord, message: str) -> ConsoleRenderable:
        return super().render_message(record, redact(message))


class _FewOfWorkers(logging.Filter):
    """Lets a few records of each stage's workers through: a thousand shards may say the same."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "from_worker", False):
            return True
        stage = getattr(record, "stage", "")
        self._seen[stage] += 1
        return self._seen[stage] <= _SHOWN_PER_STAGE


class _LogFile(logging.FileHandler):
    """A file that no run ends for: the disk may be full, and that is said where work is lost."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def run_log(run: str, run_dir: Path, console: Console) -> Iterator[None]:
    """Logs to the run's file and shows warnings for the length of the block."""
    folder = run_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    to_file = _LogFile(folder / "run.jsonl", encoding="utf-8", errors="backslashreplace")
    to_file.setFormatter(_JsonLines(run))
    to_terminal = _Terminal(logging.WARNING, console, show_path=False, show_time=False)
    to_terminal.addFilter(_FewOfWorkers())
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
