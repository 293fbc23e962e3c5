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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.atomic import write_json
from core.errors import InputError
from core.file_list import FileEntry
from core.hashing import sha256_file, sha256_text
from core.storage.backends import Object
from core.storage.remote import Remote

CACHE_VARIABLE = "ASTROMILL_CACHE"
_LOCKS = 256


def cache_folder() -> Path:
    """Returns the folder of all copies on this node."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).absolute() / "astromill"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds the name of a file against all processes of this node."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    number = int(sha256_text(str(path))[:8], 16) % _LOCKS
    with (folder / f"{number:03d}").open("w") as handle:
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


def current(path: Path, found: Object) -> bool:
    """Returns whether a local copy is of the object as it is now, by size and version."""
    try:
        info = path.stat()
    except OSError:
        return False
    # The copy's time is the object's version: see fetch_object.
    return info.st_size == found.bytes and info.st_mtime_ns == found.version


def fetch_object(remote: Remote, found: Object, path: Path) -> bool:
    """Makes an object local that only its listing describes; returns whether it was fetched."""
    if current(path, found):
        return False
    with file_lock(path):
        if current(path, found):
            return False
        remote.get(found.name, path)
        stamp(path, found)
    return True


def stamp(path: Path, found: Object) -> None:
    """Marks a local file as the copy of an object as it is now."""
    # On the file itself: a note beside it could outlive a change of the file.
    os.utime(path, ns=(found.version, found.version))
