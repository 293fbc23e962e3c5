"""Where a paper's PDF or LaTeX source lies, in the folder layouts that arXiv mirrors use."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

from core.sources import leads_out, readable

NEW_ID = re.compile(r"(\d{4})\.\d{4,5}", re.ASCII)
OLD_ID = re.compile(r"([a-z-]+)(?:\.[A-Z]{2})?/((\d{4})\d{3})", re.ASCII)

PDF_ENDINGS = (".pdf",)
LATEX_ENDINGS = (".tar.gz", ".tgz", ".gz", ".zip", ".tex", "")
"""The empty ending: a folder, or arXiv's own name for a source, which has none."""

_VERSION = re.compile(r"(.+?)(?:v(\d+))?", re.ASCII | re.IGNORECASE)


def is_id(identifier: str) -> bool:
    """Returns whether this is an arXiv id of either kind, without a version."""
    return bool(NEW_ID.fullmatch(identifier) or OLD_ID.fullmatch(identifier))


def find_paper(folder: Path, identifier: str, endings: tuple[str, ...]) -> Path | None:
    """Returns the newest version of a paper's file in any of the usual layouts, or None.

    ``0704/0704.0001v2.pdf``, ``0704.0001v2.pdf``; for old ids ``astro-ph/9901001v1.pdf``,
    ``astro-ph/pdf/9901/9901001.pdf``, ``9901/astro-ph9901001.pdf`` and flat. Links that lead out
    of the folder are not followed.
    """
    old = OLD_ID.fullmatch(identifier)
    if old:
        archive, number, month = old.groups()
        stems = [number, f"{archive}{number}", f"{archive}_{number}"]
        inside = [archive, f"{archive}/{month}", f"{archive}/pdf/{month}", f"{archive}/src/{month}"]
        places = ["", month, *inside]
    else:
        stems = [identifier]
        month = identifier.split(".")[0]
        places = ["", month, f"pdf/{month}", f"src/{month}"]
    found: list[tuple[int, int, Path]] = []
    for place in places:
        by_stem = _listing(folder, place, endings)
        for stem in stems:
            # A bare number is a paper of this archive only inside the archive's own folder.
            if not (old and stem == old[2] and old[1] not in place):
                found += by_stem.get(stem, [])
    # Asked of these few and not of all that is listed: a million questions take minutes.
    allowed = (each for each in found if os.access(each[2], os.R_OK))
    return max(allowed, default=(0, 0, None))[2]


@lru_cache(maxsize=512)
def _listing(
    root: Path, place: str, endings: tuple[str, ...]
) -> dict[str, list[tuple[int, int, Path]]]:
    """Lists a folder as stem -> [(version, rank of the ending, path)]; read once a process."""
    listed: dict[str, list[tuple[int, int, Path]]] = {}
    try:
        with os.scandir(root / place) as entries:
            names = sorted(e.name for e in entries if _usable(e, root, endings))
    except OSError:
        return listed
    for name in names:
        # The longest ending first: ".tar.gz" is also ".gz".
        ending = next(e for e in endings if name.lower().endswith(e))
        match = _VERSION.fullmatch(name[: len(name) - len(ending)])
        if match:
            rank = -endings.index(ending)
            listed.setdefault(match[1], []).append((int(match[2] or 0), rank, root / place / name))
    return listed


def _usable(entry: os.DirEntry[str], root: Path, endings: tuple[str, ...]) -> bool:
    if not entry.name.lower().endswith(endings):
        return False
    if not entry.is_symlink():
        return entry.is_file() or ("" in endings and entry.is_dir())
    if leads_out(Path(entry.path), root):
        return False
    # An entry's own answer to links in a circle is an error.
    return os.path.isfile(entry.path) or ("" in endings and os.path.isdir(entry.path))


def paper_names(folder: Path) -> list[str]:
    """Returns the names of all files below a folder, sorted: what :func:`find_paper` may find."""
    return sorted(
        os.path.relpath(Path(base) / name, folder)
        for base, _, names in os.walk(folder)
        for name in names
    )


def source_tree(path: Path) -> list[Path]:
    """Returns the files that a paper is read from: itself, or all below it where it is a folder."""
    if not path.is_dir():
        return [path]
    return sorted(
        Path(base) / name
        for base, _, names in os.walk(path)
        for name in names
        if not (Path(base) / name).is_symlink() and readable(Path(base) / name)
    )
