"""Files outside the run: found by path, folder or pattern, and known by their content.

Hashing a large PDF collection takes a while, so hashes are kept beside the run with size and
modification time, and only a file that changed is read again.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.atomic import write_json
from core.errors import InputError
from core.hashing import sha256_file, sha256_value
from core.storage.inputs import at_root, find_at_url, name_of
from core.storage.urls import is_url

_HASH_THREADS = 4


def find_files(
    root: Path,
    patterns: Sequence[str],
    endings: Sequence[str],
    where: str,
    links_out: list[Path] | None = None,
) -> list[Path]:
    """Returns the files that the patterns name, sorted, each once.

    Args:
        root: folder that relative patterns start from.
        patterns: files, folders (searched in depth) or glob patterns, at URLs too.
        endings: file endings looked for inside folders, such as ``.md``; lower case.
        where: recipe key, for the error.
        links_out: where given, links inside a folder that lead out of it are put here instead.

    Raises:
        InputError: a pattern names nothing.
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
        if path.is_dir():
            hits = _walk(path, endings)
            if links_out is not None:
                outside = [hit for hit in hits if leads_out(hit, path)]
                links_out += outside
                hits = sorted(set(hits) - set(outside))
                if outside and not hits:
                    continue
        elif path.is_file():
            hits = [path]
        else:
            # The root is no pattern, even where its name holds brackets.
            names = glob.glob(pattern, root_dir=root, recursive=True)
            hits = [root / name for name in names if (root / name).is_file()]
        if not hits:
            raise InputError(
                f"no file found for '{pattern}'{_looked_for(path, endings)}",
                where=where,
                remedy=f"check the path; it starts from {root}",
            )
        found.update(hits)
    return sorted(found)


def leads_out(path: Path, folder: Path) -> bool:
    """Returns whether a path below a folder is a link to something outside of it."""
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def _looked_for(path: Path, endings: Sequence[str]) -> str:
    return f" (a folder without any {', '.join(endings)})" if path.is_dir() else ""


def _walk(folder: Path, endings: Sequence[str]) -> list[Path]:
    # os.walk does not follow links to folders, so a link out of the tree or a cycle is not entered.
    return [
        Path(base) / name
        for base, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(tuple(endings))
    ]


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
            write_json(self._cache, self._known)
        return {self.name(path): str(self._known[str(path)][2]) for path in listed}

    def _refresh(self, listed: list[Path]) -> bool:
        stale = []
        for path in listed:
            info = path.stat()
            known = self._known.get(str(path))
            if known is None or known[:2] != [info.st_size, info.st_mtime_ns]:
                stale.append((path, info))
        if stale:
            with ThreadPoolExecutor(_HASH_THREADS) as pool:
                digests = pool.map(sha256_file, [path for path, _ in stale])
                for (path, info), digest in zip(stale, digests, strict=True):
                    self._known[str(path)] = [info.st_size, info.st_mtime_ns, digest]
        return bool(stale)

    def digest(self, paths: Iterable[Path]) -> str:
        """Returns one hash over the names and contents of the files."""
        return sha256_value(sorted(self.hashes(paths).items()))
