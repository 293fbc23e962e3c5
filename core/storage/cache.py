"""Copies of objects on this node: where they are, and when one is still good.

::

    <cache>/runs/<name>-<hash>/     mirror of a run at a URL: the stage folders as in a local run
    <cache>/inputs/s3-<hash>/...    copies of a recipe's files
    <cache>/verified/               hashes by path, size and time
    <cache>/locks/                  so that two workers do not fetch one file twice

Nothing here is ever the truth: the folder may be removed between runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.atomic import write_json
from core.disk import disk_full
from core.errors import InputError
from core.file_list import FileEntry
from core.hashing import sha256_file, sha256_text
from core.storage.backends import Object
from core.storage.remote import Remote

CACHE_VARIABLE = "ASTROMILL_CACHE"
_LOCKS = 256
IDLE_SECONDS = 3600.0
"""A temporary that nobody has written to for so long is of a process that was killed."""
_YOUNG_SECONDS = 1200.0
"""Clocks that differ by more than 15 minutes are refused by S3 itself."""


def cache_folder() -> Path:
    """Returns the folder of all copies on this node."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).absolute() / "astromill"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds the name of a file against all processes of this node, where its disk knows locks.

    Raises:
        InputError: the folder of copies cannot be written to.
        StageError: its disk is full.
    """
    number = int(sha256_text(str(path))[:8], 16) % _LOCKS
    name = cache_folder() / "locks" / f"{number:03d}"
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        handle = name.open("w")
    except OSError as error:
        raise disk_full(error, name) or InputError(
            f"copies of what is at URLs cannot be kept on this node: {error.strerror}",
            where=str(name),
            remedy=f"let the variable {CACHE_VARIABLE} name a folder that can be written to",
        ) from error
    with handle:
        # Without, a file may be fetched twice; it appears whole all the same.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def verified(path: Path, entry: FileEntry) -> bool:
    """Returns whether a local file is the entry's, by size and hash; a hash is taken once."""
    try:
        found = path.stat()
    except OSError:
        return False
    if found.st_size != entry.bytes:
        return False
    note = _note(path)
    try:
        size, time_ns, known = json.loads(note.read_text("utf-8"))
        if [size, time_ns] == [found.st_size, found.st_mtime_ns]:
            return bool(known == entry.sha256)
    except (OSError, ValueError, TypeError):
        # No note, or one of another making: the hash is taken.
        pass
    digest = sha256_file(path)
    write_json(note, [found.st_size, found.st_mtime_ns, digest])
    return digest == entry.sha256


def remember(path: Path, sha256: str) -> None:
    """Notes the hash of a file that this process has just written."""
    found = path.stat()
    write_json(_note(path), [found.st_size, found.st_mtime_ns, sha256])


def _note(path: Path) -> Path:
    name = sha256_text(str(path))
    return cache_folder() / "verified" / name[:2] / f"{name[2:32]}.json"


def fetch_entry(remote: Remote, name: str, path: Path, entry: FileEntry) -> bool:
    """Makes a file local that a manifest or receipt describes; returns whether it was fetched.

    Raises:
        InputError: the object is missing, or is not what was committed.
    """
    if verified(path, entry):
        return False
    with file_lock(path):
        if verified(path, entry):
            return False
        remote.get(name, path)
        if not verified(path, entry):
            path.unlink(missing_ok=True)
            raise InputError(
                "this object is not what its manifest says: damaged or overwritten by another hand",
                where=remote.url.below(name).shown,
                remedy="delete the object and run again: only it is made anew",
            )
    return True


def looks_current(path: Path, found: Object) -> bool:
    """Returns whether a local copy is surely of the object as it is now, without any request."""
    try:
        info = path.stat()
    except OSError:
        return False
    # The copy's time is the object's version: a note beside it could outlive a change of the file.
    return info.st_size == found.bytes and info.st_mtime_ns == found.version


def fetch_object(remote: Remote, found: Object, path: Path) -> bool:
    """Makes an object local that only its listing describes; returns whether it was fetched.

    Stores tell times by the second, so an object may be written anew within it. The copy of one
    that is young has the version with the object's tag, which is asked for again as long as that
    is so; a copy that was made later has the plain version.
    """
    if looks_current(path, found):
        return False
    with file_lock(path):
        if looks_current(path, found):
            return False
        young = time.time() - found.version / 1e9 < _YOUNG_SECONDS
        # Before the object is fetched: if it is written anew between, the copy is not current.
        exact = remote.tagged(found) if young or _has_size(path, found.bytes) else found
        good = looks_current(path, exact)
        if not good:
            remote.get(found.name, path)
        version = exact.version if young else found.version
        os.utime(path, ns=(version, version))
        return not good


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
