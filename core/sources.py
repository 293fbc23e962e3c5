"""Files outside the run: found by path, folder or pattern, and known by their content.

Hashing a large PDF collection takes a while, so hashes are kept beside the run with size and
modification time, and only a file that changed is read again.
"""

from __future__ import annotations

import errno
import glob
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from core.atomic import write_json
from core.errors import InputError
from core.hashing import sha256_file, sha256_value
from core.rejects import Reason
from core.storage.inputs import at_root, find_at_url, name_of
from core.storage.urls import is_url

log = logging.getLogger(__name__)

_HASH_THREADS = 4
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class LeftOut:
    """Something that a search met and that is not read."""

    path: Path
    reason: Reason
    detail: str


def find_files(
    root: Path,
    patterns: Sequence[str],
    endings: Sequence[str],
    where: str,
    left_out: list[LeftOut] | None = None,
) -> list[Path]:
    """Returns the files that the patterns name, sorted, each once.

    Args:
        root: folder that relative patterns start from.
        patterns: files, folders (searched in depth) or glob patterns, at URLs too.
        endings: file endings looked for inside folders, such as ``.md``; lower case.
        where: recipe key, for the error.
        left_out: where given, gets what cannot be read, and links inside a folder that lead out
            of it; these are not returned then.

    Raises:
        InputError: a pattern names nothing; without ``left_out`` also a folder cannot be listed.
    """
    found: set[Path] = set()
    for pattern in (at_root(root, each) for each in patterns):
        if is_url(pattern):
            copies = find_at_url(pattern, lambda folder: _walk(folder, endings), where)
            if not copies:
                raise InputError(
                    f"no file found for '{pattern}'",
                    where=where,
                    remedy=f"check the URL; of a folder these are read: {', '.join(endings)}",
                )
            found.update(copies)
            continue
        path = root / pattern
        left: list[LeftOut] = []
        if os.path.isdir(path):
            hits = _walk(path, endings) if left_out is None else _sorted_out(path, endings, left)
        elif os.path.isfile(path):
            hits = [path]
        else:
            named = {root / name for name in _glob(pattern, root)}
            hits = [each for each in named if each.is_file()]
            if left_out is not None:
                left += _faults(each for each in named if not each.is_dir())
                hits = sorted(set(hits) - {each.path for each in left})
        if left_out is not None:
            left_out += sorted(left, key=lambda each: each.path)
        if not hits and not (left and left_out is not None):
            raise InputError(
                f"no file found for '{pattern}'{_looked_for(path, endings)}",
                where=where,
                remedy=f"check the path; it starts from {root}",
            )
        found.update(hits)
    return sorted(found)


def leads_out(path: Path, folder: Path) -> bool:
    """Returns whether a path below a folder is a link to something outside of it."""
    if not path.is_symlink():
        return False
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle are a RuntimeError; they lead nowhere
        return False


def _looked_for(path: Path, endings: Sequence[str]) -> str:
    return f" (a folder without any {', '.join(endings)})" if os.path.isdir(path) else ""


def _walk(
    folder: Path, endings: Sequence[str], left_out: list[LeftOut] | None = None
) -> list[Path]:
    def unlisted(error: OSError) -> None:
        path, why = Path(error.filename), f"this folder cannot be listed: {error.strerror}"
        if left_out is None:
            raise InputError(
                why,
                where=str(path),
                remedy="restore its permissions, or name the files in the recipe",
            ) from error
        left_out.append(LeftOut(path, Reason.UNREADABLE_FILE, why))

    # os.walk does not follow links to folders, so a link out of the tree or a cycle is not entered.
    hits: list[Path] = []
    for base, folders, names in os.walk(folder, onerror=unlisted):
        hits += [Path(base) / name for name in names if name.lower().endswith(tuple(endings))]
        if left_out is not None:
            links = (Path(base) / name for name in folders)
            left_out += [_link_out(link) for link in links if leads_out(link, folder)]
    return hits


def _sorted_out(folder: Path, endings: Sequence[str], left_out: list[LeftOut]) -> list[Path]:
    """Returns a folder's files that can be read; the others go to ``left_out``."""
    hits = _walk(folder, endings, left_out)
    left_out += [_link_out(hit) for hit in hits if leads_out(hit, folder)]
    left_out += _faults(set(hits) - {each.path for each in left_out})
    return sorted(set(hits) - {each.path for each in left_out})


def _link_out(path: Path) -> LeftOut:
    detail = "a link that leads out of the folder: name its target in the recipe's paths"
    return LeftOut(path, Reason.LINK_OUT, detail)


def readable(path: Path) -> bool:
    """Returns whether a path is a file that may be read."""
    return not any(_faults([path]))


def _faults(paths: Iterable[Path]) -> Iterator[LeftOut]:
    """Yields those of the paths that cannot be read as files, and why."""
    for path in paths:
        try:
            # A pipe would be waited on for ever.
            why = None if stat.S_ISREG(path.stat().st_mode) else "not a regular file"
        except OSError as error:
            link = "a link to nothing: " if path.is_symlink() else ""
            why = f"{link}{error.strerror}"
        if why is None and not os.access(path, os.R_OK):
            why = os.strerror(errno.EACCES)
        if why is not None:
            yield LeftOut(path, Reason.UNREADABLE_FILE, why)


def _glob(pattern: str, root: Path) -> Iterator[str]:
    """Yields what :func:`glob.glob` does, but ``**`` enters each folder once.

    Links to folders are followed, and may lead in circles: two of them are a search without end.
    """
    parts = pattern.split("/")
    if "**" not in parts:
        # The root is no pattern, even where its name holds brackets.
        yield from glob.glob(pattern, root_dir=root)
        return
    at = parts.index("**")
    above = "/".join(parts[:at]) or ("/" if pattern.startswith("/") else ".")
    below = "/".join(parts[at + 1 :]) or "*"
    for top in sorted(glob.glob(above, root_dir=root)):
        for folder in _folders_once(root / top):
            yield from (str(folder / name) for name in _glob(below, folder))


def _folders_once(top: Path) -> Iterator[Path]:
    """Yields a folder and all below it, hidden ones left out, each once."""
    seen = set()
    for base, folders, _ in os.walk(top, followlinks=True):
        info = os.stat(base)
        if (info.st_dev, info.st_ino) in seen:
            folders.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(base)


class SourceIndex:
    """Content hashes of source files, remembered between runs."""

    def __init__(self, root: Path, cache: Path) -> None:
        """Opens the index.

        Args:
            root: names are given relative to it where possible.
            cache: JSON file where hashes are remembered.
        """
        self._root = root
        self._cache = cache
        try:
            known = json.loads(cache.read_text("utf-8"))
        except (OSError, ValueError):
            known = None
        self._known: dict[str, list[int | str]] = known if isinstance(known, dict) else {}

    def name(self, path: Path) -> str:
        """Returns the path relative to root, the URL of a copy, or an absolute path."""
        return name_of(self._root, path)

    def hashes(self, paths: Iterable[Path]) -> dict[str, str]:
        """Returns name to SHA-256 for the files, hashing only what changed since last time.

        Raises:
            InputError: a file cannot be read.
        """
        listed = list(paths)
        try:
            changed = self._refresh(listed)
        except OSError as error:
            raise InputError(
                f"cannot read a source file: {error.strerror}",
                where=str(error.filename),
                remedy="restore the file or its permissions, or take it out of the recipe's paths",
            ) from error
        if changed:
            self._remember()
        return {self.name(path): str(self._known[str(path)][2]) for path in listed}

    def _refresh(self, listed: list[Path]) -> bool:
        stale = []
        for path in listed:
            info = path.stat()
            if not stat.S_ISREG(info.st_mode):
                # A pipe would be waited on for ever.
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            known = self._known.get(str(path))
            if known is None or known[:2] != [info.st_size, info.st_mtime_ns]:
                stale.append((path, info))
        if stale:
            with ThreadPoolExecutor(_HASH_THREADS) as pool:
                digests = pool.map(sha256_file, [path for path, _ in stale])
                for (path, info), digest in zip(stale, digests, strict=True):
                    self._known[str(path)] = [info.st_size, info.st_mtime_ns, digest]
        return bool(stale)

    def _remember(self) -> None:
        try:
            write_json(self._cache, self._known)
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
            # A run of others may be looked at; it cannot be worked on.
            log.warning("%s cannot be written: its files are hashed each time", self._cache)

    def digest(self, paths: Iterable[Path]) -> str:
        """Returns one hash over the names and contents of the files."""
        return sha256_value(sorted(self.hashes(paths).items()))
