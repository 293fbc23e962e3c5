"""Objects at a URL, with patience for what passes and plain words for what does not."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from core.atomic import atomic_file
from core.errors import InputError
from core.storage.backends import Backend, Object, open_backend
from core.storage.urls import StorageUrl, parse_url

log = logging.getLogger(__name__)

T = TypeVar("T")

_ATTEMPTS = 5
"""On top of the SDK's own three tries of a request; with the pauses about a minute in all."""
_FIRST_PAUSE_SECONDS = 0.5
_TRANSFERS_AT_ONCE = 16

# What the text of an error says: found by making each of them happen.
_PASSING = (
    "SLOW_DOWN",
    "INTERNAL_FAILURE",
    "SERVICE_UNAVAILABLE",
    "REQUEST_TIMEOUT",
    "THROTTL",
    "HTTP status 50",
)
_UNREACHABLE = ("NETWORK_CONNECTION", "curlCode", "Cannot connect", "Connection refused")
_DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "403", "401")


class StorageError(InputError):
    """The storage as a whole cannot be used: what failed one unit would fail them all."""


class Remote:
    """Objects below one URL; names are relative to it."""

    def __init__(self, url: StorageUrl) -> None:
        """Opens the place; no request is made yet.

        Raises:
            InputError: the scheme is unknown, or there are no credentials.
        """
        self.url = url
        self._backend: Backend = open_backend(url)
        self._reached = False

    def listed(self, prefix: str = "") -> list[Object]:
        """Returns every object below a folder name, in depth, sorted by name."""
        found = self._patiently(lambda: [*self._backend.listed(prefix)], prefix)
        return sorted(found, key=lambda each: each.name)

    def stat(self, name: str) -> Object | None:
        """Returns an object, or None where there is none."""
        return self.stats([name])[0]

    def stats(self, names: Sequence[str]) -> Sequence[Object | None]:
        """Returns each object, or None where there is none."""
        return self._patiently(lambda: self._backend.stat(names), names[0]) if names else []

    def get(self, name: str, target: Path) -> None:
        """Copies an object into a local file, which appears whole or not at all.

        Raises:
            InputError: it cannot be read.
        """

        def fetch() -> None:
            with atomic_file(target) as temporary:
                self._backend.get(name, temporary)

        self._patiently(fetch, name)

    def put(self, source: Path, name: str) -> None:
        """Copies a local file into an object: one put, no rename.

        Raises:
            InputError: it cannot be written.
        """
        self._patiently(lambda: self._backend.put(source, name), name)

    def delete(self, name: str) -> None:
        """Removes an object; one that is not there is no error."""

        def remove() -> None:
            try:
                self._backend.delete(name)
            except FileNotFoundError:
                return

        self._patiently(remove, name)

    def _patiently(self, act: Callable[[], T], name: str) -> T:
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                found = act()
                self._reached = True
                return found
            except self._backend.faults as error:
                if attempt == _ATTEMPTS or not self._may_pass(error):
                    raise self._explained(error, name) from error
                log.warning("%s: %s; trying again", self.url.below(name).shown, _brief(error))
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause *= 3
        raise AssertionError("unreachable")

    def _may_pass(self, error: Exception) -> bool:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            return False
        # A wrong address is told at once; a network that was there may come back.
        marks = (*_PASSING, *_UNREACHABLE) if self._reached else _PASSING
        return any(mark in str(error) for mark in marks)

    def _explained(self, error: Exception, name: str) -> InputError:
        where = self.url.below(name).shown
        text = str(error)
        bucket = f"{self.url.scheme}://{self.url.path.split('/')[0]}"
        if "NO_SUCH_BUCKET" in text or "NoSuchBucket" in text:
            return StorageError(
                f"there is no bucket {bucket}", where=where, remedy="create it, or correct the URL"
            )
        if isinstance(error, FileNotFoundError):
            return InputError(
                "there is no such object",
                where=where,
                remedy="check the URL; if a run made it, run again: what is missing is made anew",
            )
        if any(mark in text for mark in _UNREACHABLE):
            return StorageError(
                f"the storage server does not answer: {_brief(error)}",
                where=where,
                remedy="check AWS_ENDPOINT_URL or the URL's endpoint_override, scheme (http, "
                "https) and the network; then run again: what is finished is kept",
            )
        if any(mark in text for mark in _DENIED) or isinstance(error, PermissionError):
            return StorageError(
                f"the storage server refuses: {_brief(error)}",
                where=where,
                remedy="check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                "AWS_PROFILE) on this node and what they may do in the bucket",
            )
        return InputError(
            f"the storage fails: {_brief(error)}",
            where=where,
            remedy="run again: what is finished is kept",
        )


def _brief(error: Exception) -> str:
    """Returns an error's first line without the request's long id."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" (Request ID")[0][:300]


@lru_cache(maxsize=64)
def open_remote(url: str) -> Remote:
    """Returns the place of a URL text; one per process.

    Raises:
        RecipeError: the URL is none that may stand in a recipe.
        InputError: it cannot be opened.
    """
    return Remote(parse_url(url))


def all_at_once(act: Callable[[T], object], items: Iterable[T]) -> None:
    """Does something for every item in a few threads; the first error ends it."""
    with ThreadPoolExecutor(_TRANSFERS_AT_ONCE) as pool:
        for _ in pool.map(act, items):
            pass


def each_at_once(act: Callable[[T], object], items: Iterable[T]) -> Iterator[object]:
    """Yields what :func:`all_at_once` does for each item, in order."""
    with ThreadPoolExecutor(_TRANSFERS_AT_ONCE) as pool:
        yield from pool.map(act, items)
