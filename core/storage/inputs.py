"""A recipe's paths: as they are, or, for URLs, copied to this node when they are first needed.

What is read is a copy, what is told of (in the catalog, in a document's ``file``, in fingerprints)
is the URL; so no data names a place on a machine.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from core.atomic import sweep
from core.errors import RecipeError
from core.hashing import sha256_text
from core.storage.backends import Object
from core.storage.cache import IDLE_SECONDS, cache_folder, fetch_object, looks_current
from core.storage.remote import Remote, all_at_once, open_remote
from core.storage.urls import StorageUrl, is_url, parse_url

log = logging.getLogger(__name__)

_MAGIC = re.compile(r"[*?[]")
_NEVER_READ = (".bin", ".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
"""Weights in formats that nothing here reads, often beside the safetensors; not copied along."""
_LATEX_PARTS: tuple[str, ...] = (".tex", ".bbl", ".bib", ".sty", ".cls")

Settings = dict[str, tuple[tuple[str, str], ...]]
"""Bucket such as ``s3://bucket`` to the settings of the URLs that name it."""

_looked_at: dict[str, Path] = {}
_beside: set[str] = set()
"""URLs of folders whose LaTeX files or modules are here."""
_tags: dict[str, str] = {}
_settings: Settings = {}


def forget_inputs() -> None:
    """Looks at every URL anew when it is next asked for; until then once a process is enough."""
    _looked_at.clear()
    _beside.clear()


def known_settings() -> tuple[Settings, dict[str, str]]:
    """Returns what the recipe's URLs said, for a worker to take."""
    return dict(_settings), dict(_tags)


def take_settings(given: tuple[Settings, dict[str, str]]) -> None:
    """Takes what was said in URLs that this process sees only by their names in data."""
    _settings.update(given[0])
    _tags.update(given[1])


def any_copied() -> bool:
    """Returns whether this process has copied anything for the recipe."""
    return bool(_looked_at)


def locate(root: Path, name: str, where: str = "recipe") -> Path:
    """Returns where a path of the recipe is on this node; what a URL names is copied first.

    Args:
        root: folder that relative paths start from.
        name: a path, or the URL of a file or a folder.
        where: recipe key, for errors.

    Returns:
        The place, whether anything is there or not.

    Raises:
        RecipeError: the URL is none that may stand in a recipe.
        InputError: the storage cannot be read.
    """
    name = at_root(root, name)
    if not is_url(name):
        return root / name
    if name not in _looked_at:
        _looked_at[name] = _localise(whole_url(parse_url(name, where), where))
    return _looked_at[name]


def root_place(text: str) -> Path:
    """Returns where the copies below a recipe's root at a URL are; nothing is copied yet.

    Raises:
        RecipeError: the URL is none that may stand in a recipe.
    """
    where = "key root"
    url = parse_url(text, where)
    return Path("/") / url.path if url.scheme == "file" else _copy_of(whole_url(url, where))


def at_root(root: Path, name: str) -> str:
    """Returns a path of the recipe with the URL of the recipe's root before it, if it has one."""
    base = None if is_url(name) or Path(name).is_absolute() else _url_of(root)
    return name if base is None else f"{base}/{name}"


def whole_url(url: StorageUrl, where: str) -> StorageUrl:
    """Returns a URL with its bucket's settings: names in data are without."""
    bucket = f"{url.scheme}://{url.path.partition('/')[0]}"
    if not url.settings:
        return StorageUrl(url.scheme, url.path, _settings.get(bucket, ()))
    if _settings.setdefault(bucket, url.settings) != url.settings:
        raise RecipeError(
            f"the bucket {bucket} is given with different settings",
            where=where,
            remedy="give it the same ones (after the ?) wherever it stands",
        )
    return url


def name_of(root: Path, path: Path) -> str:
    """Returns the name that :func:`locate` takes: a URL, a path relative to root, or absolute.

    A URL is without its settings: data does not depend on which server a bucket was read from.
    """
    # A root such as the home folder holds the copies, too; one at a URL is a copy itself.
    url = _url_of(path)
    if url is not None and not (path.is_relative_to(root) and _url_of(root)):
        return url
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _url_of(path: Path) -> str | None:
    """Returns the URL that a path is the copy of, if it is one."""
    # The first is all that a recipe without URLs asks.
    if not _tags or not path.is_relative_to(inputs := cache_folder() / "inputs"):
        return None
    tag, _, name = path.relative_to(inputs).as_posix().partition("/")
    return f"{_tags[tag]}://{name}" if name and tag in _tags else None


def present(path: Path) -> bool:
    """Returns whether a file is there; one beside a copied file is looked for at its URL."""
    if path.is_file():
        return True
    url = _url_of(path)
    return url is not None and locate(path, url).is_file()


def find_at_url(pattern: str, walk: Callable[[Path], list[Path]], where: str) -> list[Path]:
    """Returns local copies of the files that a URL names: a file, a folder or a glob pattern.

    Args:
        pattern: the URL.
        walk: picks the files of a folder.
        where: recipe key, for errors.
    """
    url = whole_url(parse_url(pattern, where), where)
    if not _MAGIC.search(url.path):
        place = locate(Path(), pattern, where)
        return walk(place) if place.is_dir() else [place] if place.is_file() else []
    parts = url.path.split("/")
    first = next(n for n, part in enumerate(parts) if _MAGIC.search(part))
    fixed, magic = parts[: max(first, 1)], parts[max(first, 1) :]
    base, prefix = _split(StorageUrl(url.scheme, "/".join(fixed), url.settings))
    remote = open_remote(str(base))
    below = len(prefix) + 1 if prefix else 0
    found = [o for o in remote.listed(prefix) if _fits(o.name[below:].split("/"), magic)]
    _fetch(remote, found, url)
    for each in found:
        _fetch_beside(remote, base, each.name)
    return [_copy_of(base.below(each.name)) for each in found]


def _split(url: StorageUrl) -> tuple[StorageUrl, str]:
    """Returns the bucket's URL, and the name in it."""
    bucket, _, name = url.path.partition("/")
    return StorageUrl(url.scheme, bucket, url.settings), name


def _copy_of(url: StorageUrl) -> Path:
    """Returns where the copy of an object or folder is kept."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    server = repr(url.settings) + (endpoint if url.scheme == "s3" else "")
    tag = url.scheme if server == "()" else f"{url.scheme}-{sha256_text(server)[:8]}"
    _tags[tag] = url.scheme
    return cache_folder() / "inputs" / tag / url.path


def _localise(url: StorageUrl) -> Path:
    if url.scheme == "file":
        return Path("/") / url.path
    base, name = _split(url)
    remote, target = open_remote(str(base)), _copy_of(url)
    if name and (found := remote.stat(name)):
        _fetch(remote, [found], url)
        _fetch_beside(remote, base, name)
        return target
    listed = remote.listed(name)
    _fetch(remote, [o for o in listed if not o.name.lower().endswith(_NEVER_READ)], url)
    _remove_gone(target, {_copy_of(base.below(each.name)) for each in listed})
    return target


def _fetch(remote: Remote, listed: Sequence[Object], url: StorageUrl) -> None:
    base = remote.url
    wanted = [o for o in listed if not looks_current(_copy_of(base.below(o.name)), o)]
    if len(wanted) > 1:
        size = sum(each.bytes for each in wanted) / 1e6
        text = "copying up to %d files, %.1f MB, from %s"
        log.info(text, len(wanted), size, url.shown)
    all_at_once(lambda o: fetch_object(remote, o, _copy_of(base.below(o.name))), wanted)


def _fetch_beside(remote: Remote, base: StorageUrl, name: str) -> None:
    """Copies what a file is read with: of a LaTeX paper its folder, of a collection its modules."""
    folder = name.rpartition("/")[0]
    endings = _LATEX_PARTS
    if name.endswith("collection.xml"):
        folder, endings = folder.rpartition("/")[0], ("index.cnxml",)
    elif not name.lower().endswith(".tex"):
        return
    url = base.below(folder)
    key = f"{url} {endings}"
    if key not in _beside:
        parts = [o for o in remote.listed(folder) if o.name.lower().endswith(endings)]
        _fetch(remote, parts, url)
        _beside.add(key)


def _remove_gone(folder: Path, listed: set[Path]) -> None:
    """Removes copies of what is no longer there."""
    for parent, _, names in os.walk(folder):
        sweep(Path(parent), IDLE_SECONDS)
        for name in names:
            path = Path(parent) / name
            # A temporary is another worker's, which is copying.
            if path not in listed and ".tmp-" not in name:
                path.unlink(missing_ok=True)


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Returns whether a name fits a pattern as with :func:`glob.glob`, both cut at slashes."""
    if not parts or not names:
        return not names and all(part == "**" for part in parts)
    hidden = names[0].startswith(".") and not parts[0].startswith(".")
    if parts[0] == "**":
        return _fits(names, parts[1:]) or (not hidden and _fits(names[1:], parts))
    return not hidden and fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])
