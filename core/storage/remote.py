"""Objects at a URL, with patience for what passes and plain words for what does not."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

from core.atomic import atomic_file
from core.disk import disk_full
from core.errors import AstromillError, InputError
from core.storage.backends import Backend, Object, open_backend
from core.storage.urls import StorageUrl, parse_url

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_ATTEMPTS = 5
"""On top of the SDK's own three tries of a request; with the pauses about a minute in all."""
_FIRST_PAUSE_SECONDS = 0.5
_TRANSFERS_AT_ONCE = 16
_WINDOW = 1024

# What the text of an error says: found by making each of them happen, or from Arrow's list.
_PASSING = (
    "SLOW_DOWN",
    "INTERNAL_FAILURE",
    "SERVICE_UNAVAILABLE",
    "REQUEST_TIMEOUT",
    "THROTTL",
)
_UNREACHABLE = (
    *("NETWORK_CONNECTION", "curlCode", "Cannot connect", "Connection refused"),
    *("Server disconnected", "payload is not completed", "imeout on reading"),
    *("Status(UNAVAILABLE", "Status(DEADLINE_EXCEEDED"),
)
_DENIED = (
    *("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT_TOKEN"),
    *("UNRECOGNIZED_CLIENT", "MISSING_AUTHENTICATION_TOKEN", "InvalidToken"),
    *("ExpiredToken", "TokenRefreshRequired", "Status(PERMISSION_DENIED", "Status(UNAUTHENTICATED"),
)
_CLOCKS = ("TOO_SKEWED", "TooSkewed", "REQUEST_EXPIRED")
# Not any number in the text: names of papers are full of 401s and 500s.
_STATUS = re.compile(r"HTTP status (\d{3})\b")
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or those of gcloud",
    "hf": "HF_TOKEN",
}


class StorageError(InputError):
    """The storage as a whole cannot be used: what failed one unit would fail them all."""


class MissingObjectError(InputError):
    """There is no such object."""


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
        """Returns every object below a folder name, in depth, sorted by name.

        Those whose names cannot be those of files are left out, with a warning.
        """
        found = self._patiently(lambda: [*self._backend.listed(prefix)], prefix)
        good = [each for each in found if _is_file_name(each.name)]
        if len(good) < len(found):
            odd = next(each.name for each in found if not _is_file_name(each.name))
            log.warning(
                "%s: %d objects are left out, since no file can have their names, such as %r",
                self.url.below(prefix).shown,
                len(found) - len(good),
                odd,
            )
        return sorted(good, key=lambda each: each.name)

    def stat(self, name: str) -> Object | None:
        """Returns an object, or None where there is none."""
        return self.stats([name])[0]

    def stats(self, names: Sequence[str]) -> Sequence[Object | None]:
        """Returns each object, or None where there is none."""
        return self._patiently(lambda: self._backend.stat(names), names[0]) if names else []

    def tagged(self, found: Object) -> Object:
        """Returns an object with a version that tells contents of the same second apart.

        Raises:
            MissingObjectError: it is there no more.
        """
        return found.tagged(self._patiently(lambda: self._backend.tag(found.name), found.name))

    def get(self, name: str, target: Path) -> None:
        """Copies an object into a local file, which appears whole or not at all.

        Raises:
            MissingObjectError: there is none.
            InputError: it cannot be read.
            StageError: the local disk is full.
        """

        def fetch() -> None:
            with atomic_file(target) as temporary:
                self._backend.get(name, temporary)

        self._patiently(fetch, name, target)

    def get_if_there(self, name: str, target: Path) -> bool:
        """Copies an object where there is one, and returns whether there was: one request."""
        try:
            self.get(name, target)
        except MissingObjectError:
            return False
        return True

    def put(self, source: Path, name: str) -> None:
        """Copies a local file into an object: one put, no rename.

        Raises:
            InputError: it cannot be written.
        """
        self._patiently(lambda: self._backend.put(source, name), name, source)

    def delete(self, name: str) -> None:
        """Removes an object; one that is not there is no error."""

        def remove() -> None:
            try:
                self._backend.delete(name)
            except FileNotFoundError:
                return

        self._patiently(remove, name)

    def _patiently(self, act: Callable[[], T], name: str, local: Path | None = None) -> T:
        """Acts, again where the fault may pass; ``local`` is the file on this node, if any."""
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                found = act()
                self._reached = True
                return found
            except self._backend.faults as error:
                if isinstance(error, AstromillError):
                    raise
                if local is not None and (fault := _local_fault(error, local)):
                    raise fault from error
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
        return _is_passing(error) or (self._reached and _is_unreachable(error))

    def _explained(self, error: Exception, name: str) -> InputError:
        where, scheme = self.url.below(name).shown, self.url.scheme
        text = str(error)
        bucket = f"{scheme}://{self.url.path.split('/')[0]}"
        if "NO_SUCH_BUCKET" in text or "NoSuchBucket" in text:
            return StorageError(
                f"there is no bucket {bucket}", where=where, remedy="create it, or correct the URL"
            )
        if isinstance(error, FileNotFoundError):
            return MissingObjectError(
                "there is no such object",
                where=where,
                remedy="check the URL; if a run made it, run again: what is missing is made anew",
            )
        if any(mark in text for mark in _CLOCKS):
            return StorageError(
                f"the storage server says that this node's clock is wrong: {_brief(error)}",
                where=where,
                remedy="set the clock of this node (NTP); then run again: what is finished is kept",
            )
        if _is_denied(error):
            known = _CREDENTIALS.get(scheme)
            return StorageError(
                f"the storage server refuses: {_brief(error)}",
                where=where,
                remedy=(f"check the credentials on this node ({known})" if known else "check them")
                + " and what they may do there; some expire. Then run again: what is finished is "
                "kept",
            )
        if _is_unreachable(error):
            address = "AWS_ENDPOINT_URL or the URL's endpoint_override, scheme (http, https)"
            return StorageError(
                f"the storage server does not answer: {_brief(error)}",
                where=where,
                remedy=f"check {address if scheme == 's3' else 'the address'} and the network; "
                "then run again: what is finished is kept",
            )
        kind = StorageError if _is_passing(error) else InputError
        return kind(
            f"the storage fails: {_brief(error)}",
            where=where,
            remedy="run again: what is finished is kept",
        )


def _is_file_name(name: str) -> bool:
    """Returns whether a name leads to one file below the folder that it is put in."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def _status(error: Exception) -> int | None:
    """Returns the HTTP status that an error tells of: of Arrow, of aiohttp, of the Hub's client."""
    found = getattr(error, "status", None)
    found = found or getattr(getattr(error, "response", None), "status_code", None)
    if found is None and (match := _STATUS.search(str(error))):
        found = int(match[1])
    return found if isinstance(found, int) else None


def _is_passing(error: Exception) -> bool:
    known = isinstance(error, InterruptedError) or _status(error) in _PASSING_STATUS
    return known or any(mark in str(error) for mark in _PASSING)


def _is_unreachable(error: Exception) -> bool:
    known = isinstance(error, ConnectionError | TimeoutError)
    return known or any(mark in str(error) for mark in _UNREACHABLE)


def _is_denied(error: Exception) -> bool:
    known = isinstance(error, PermissionError) or _status(error) in (401, 403)
    return known or any(mark in str(error) for mark in _DENIED)


def _local_fault(error: Exception, local: Path) -> AstromillError | None:
    """Returns what to say of a fault of this node's disk; None: it is not one."""
    if full := disk_full(error, local):
        return full
    named = getattr(error, "filename", None)
    if not isinstance(error, OSError) or not isinstance(named, str | bytes | os.PathLike):
        return None
    # The file, a temporary beside it, or a folder above it.
    path = os.fsdecode(named)
    if not (path.startswith(str(local)) or local.is_relative_to(path)):
        return None
    return InputError(
        f"its copy on this node cannot be used: {error.strerror}",
        where=path,
        remedy="check the permissions of its folder, or let ASTROMILL_CACHE name another one",
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
    for _ in each_at_once(act, items):
        pass


def each_at_once(act: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yields what :func:`all_at_once` does for each item, in order."""
    coming = iter(items)
    with ThreadPoolExecutor(_TRANSFERS_AT_ONCE) as pool:
        # A pool keeps all that it is given, and a stage may have 100,000 receipts.
        while window := list(islice(coming, _WINDOW)):
            yield from pool.map(act, window)
