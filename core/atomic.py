"""Files and folders appear whole or not at all. Nobody else calls ``os.replace``.

A writer fills a temporary name beside the target, syncs it, and moves it into place. A process
killed before the move leaves only a temporary, which :func:`sweep` removes on the next start.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MARK = ".tmp-"


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}{_MARK}{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path; moves it to ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically; half of a surrogate pair is written escaped."""
    with atomic_file(path) as temporary:
        # A file name that is not UTF-8 holds such halves; in JSON the escape reads back as one.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def replace_folder(new: Path, target: Path) -> None:
    """Moves folder ``new`` to ``target``, removing what stood there.

    Between the two moves the target is absent, never half there; a completeness marker inside
    (the manifest, written last) tells a reader whether to trust it.
    """
    if not new.is_dir():
        raise FileNotFoundError(new)
    target.parent.mkdir(parents=True, exist_ok=True)
    old = _temporary(target)
    if target.exists():
        os.replace(target, old)
    os.replace(new, target)
    shutil.rmtree(old, ignore_errors=True)


def sweep(folder: Path, idle_seconds: float | None = None) -> int:
    """Removes temporaries that a killed process left directly in ``folder``; returns how many.

    Args:
        folder: where to look.
        idle_seconds: leave those that were written to since, as others are at work there.
    """
    count = 0
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as found:
        names = sorted(
            each.name
            for each in found
            if _MARK in each.name and (idle_seconds is None or _is_idle(each, idle_seconds))
        )
    for leftover in (folder / name for name in names):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
        count += 1
    return count


def _is_idle(found: os.DirEntry[str], seconds: float) -> bool:
    try:
        return time.time() - found.stat().st_mtime > seconds
    except OSError:  # it is in its place by now
        return False
