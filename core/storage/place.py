"""Where a run is: a folder, or a URL with a mirror on each node."""

from __future__ import annotations

from pathlib import Path

from core.errors import RecipeError
from core.hashing import sha256_text
from core.storage.cache import cache_folder
from core.storage.inputs import whole_url
from core.storage.urls import StorageUrl, is_url, parse_url

_KEY = "key run_dir"
_READ_ONLY = ("hf", "http", "https")


def run_url(run_dir: str) -> str | None:
    """Returns the URL of a run, or None where it is a local path.

    Raises:
        RecipeError: a run cannot be kept there.
    """
    url = _parsed(run_dir)
    return None if url is None else str(url)


def run_place(root: Path, run_dir: str) -> Path:
    """Returns the run's folder on this node: its own, or the mirror of a URL.

    Raises:
        RecipeError: a run cannot be kept at the URL.
    """
    url = _parsed(run_dir)
    if url is not None:
        name = url.path.rpartition("/")[2]
        return cache_folder() / "runs" / f"{name}-{sha256_text(str(url))[:8]}"
    if is_url(run_dir):
        return Path("/") / parse_url(run_dir, _KEY).path
    return root / run_dir


def _parsed(run_dir: str) -> StorageUrl | None:
    if not is_url(run_dir):
        return None
    url = whole_url(parse_url(run_dir, _KEY), _KEY)
    if url.scheme in _READ_ONLY:
        raise RecipeError(
            f"a run cannot be kept at {url.scheme}://: every finished shard would be a commit "
            "or is not taken",
            where=_KEY,
            remedy="use s3://, gs:// or a local path; astromill publish puts results on the Hub",
        )
    if "/" not in url.path:
        raise RecipeError(
            f"'{url.shown}' is a whole bucket",
            where=_KEY,
            remedy=f"name a folder in it, such as {url.shown}/runs/mine",
        )
    return None if url.scheme == "file" else url
