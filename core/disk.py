"""A full disk, told from all else that fails: it is no fault of the shard in hand."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from core.errors import StageError

MAKE_SPACE = "make space there"
_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
# Libraries of other languages hand on the system's words, not always its number.
_WORDS = tuple(os.strerror(number) for number in _NUMBERS)


class DiskFullError(StageError):
    """A disk is full: what failed one unit would fail them all."""


def disk_full(error: BaseException, folder: Path) -> DiskFullError | None:
    """Returns what to tell the user when an error says that a disk is full; None: it does not.

    Args:
        error: what was raised, with its causes.
        folder: what was being written is below it, if ``error`` names no file.
    """
    for each in _chain(error):
        if getattr(each, "errno", None) in _NUMBERS or any(word in str(each) for word in _WORDS):
            named = getattr(each, "filename", None)
            # It may also be the number of an open file.
            known = named if isinstance(named, str | bytes) else None
            return _explained(Path(os.fsdecode(known)) if known else folder)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        # Ray keeps what a task raised beside Python's own chain.
        cause = getattr(following, "cause", None)
        cause = cause if isinstance(cause, BaseException) else None
        following = following.__cause__ or cause or following.__context__


def _explained(path: Path) -> DiskFullError:
    disk = path.absolute()
    while not (disk.is_dir() and os.path.ismount(disk)) and disk != disk.parent:
        disk = disk.parent
    try:
        usage = shutil.disk_usage(disk)
        left = f"{usage.free / 2**20:,.1f} MiB of {usage.total / 2**20:,.0f} MiB are left"
    except OSError:
        left = "what is left cannot be told"
    return DiskFullError(
        f"the disk {disk} is full, or your quota of it is used up ({left})",
        where=str(path),
        remedy=f"{MAKE_SPACE}, then run the same command again: what is finished is kept",
    )
