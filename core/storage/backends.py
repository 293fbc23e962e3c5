"""The two ways to objects: Arrow's own file systems (S3, GCS) and fsspec (``hf://`` and the rest).

fsspec is called by itself and not through Arrow's wrapper, which hides the etag or blob id by which
a changed object is known where there is no time of change.

S3 tells the time of change by the second, and its listings, as Arrow reads them, no etag. So an
object's version is that second, and :meth:`Backend.tag` tells of two within one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from core.errors import InputError
from core.hashing import sha256_value
from core.storage.urls import StorageUrl

LOCAL_SCHEMES = ("file", "local")

_COPY_BYTES = 8 << 20
CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0
"""A request that moves less than a byte a second for so long fails: nothing hangs."""
_SDK_TRIES = 3
_VERSION_KEYS = (
    *("etag", "ETag", "blob_id", "oid", "sha256", "checksum", "generation"),
    *("Content-MD5", "Digest"),
)
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created")
_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class Object:
    """An object as it is listed.

    Args:
        name: relative to the place.
        bytes: its size.
        version: moves when the content is written anew; a time in nanoseconds, or shaped like one.
    """

    name: str
    bytes: int
    version: int

    def tagged(self, tag: str) -> Object:
        """Returns the object with a version that moves with the tag, too."""
        return replace(self, version=_like_time([self.version, tag]))


class Backend(Protocol):
    """Objects below one place. Names are relative to it."""

    faults: tuple[type[Exception], ...]
    """What its methods raise where the storage is at fault."""

    def listed(self, prefix: str) -> Iterator[Object]:
        """Yields every object below a folder name, in depth."""

    def stat(self, names: Sequence[str]) -> list[Object | None]:
        """Returns each object, or None where there is none."""

    def tag(self, name: str) -> str:
        """Returns what moves with an object's content within a second; empty: its version does."""

    def get(self, name: str, target: Path) -> None:
        """Copies an object into a local file."""

    def put(self, source: Path, name: str) -> None:
        """Copies a local file into an object, whole or not at all."""

    def delete(self, name: str) -> None:
        """Removes an object."""


def open_backend(url: StorageUrl) -> Backend:
    """Returns the way to a place.

    Raises:
        InputError: the scheme is unknown, or there are no credentials.
    """
    if url.scheme == "s3":
        return _ArrowBackend(_open_s3(url), url.path)
    if url.scheme in ("gs", "gcs"):
        from pyarrow import fs

        # Its own limit is a quarter of an hour for each request.
        limit = timedelta(seconds=REQUEST_SECONDS)
        filesystem = fs.GcsFileSystem(anonymous=_is_anonymous(url), retry_time_limit=limit)
        return _ArrowBackend(filesystem, url.path)
    return _FsspecBackend(url)


def _is_anonymous(url: StorageUrl) -> bool:
    return dict(url.settings).get("anonymous", "false").lower() in ("1", "true")


def _open_s3(url: StorageUrl) -> Any:
    from pyarrow import fs

    settings = dict(url.settings)
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    endpoint = settings.get("endpoint_override") or given
    scheme, _, host = endpoint.rpartition("://")
    anonymous = _is_anonymous(url)
    if host and not anonymous and not _has_credentials():
        # Of Amazon's own, a machine of theirs may have credentials that only the SDK finds.
        raise InputError(
            "there are no credentials for this S3 server",
            where=url.shown,
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on every node, or write "
            "~/.aws/credentials; for a public bucket add ?anonymous=true",
        )
    region = settings.get("region") or os.environ.get("AWS_REGION")
    region = region or os.environ.get("AWS_DEFAULT_REGION") or ("us-east-1" if host else None)
    return fs.S3FileSystem(
        endpoint_override=host.rstrip("/") or None,
        scheme=settings.get("scheme") or scheme or "https",
        region=region,
        anonymous=anonymous,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        # A small object is then one PUT and not a multipart upload.
        allow_delayed_open=True,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_SDK_TRIES),
    )


def _has_credentials() -> bool:
    named = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
    if any(os.environ.get(name) for name in named):
        return True
    files = {"AWS_SHARED_CREDENTIALS_FILE": "credentials", "AWS_CONFIG_FILE": "config"}
    return any(
        Path(os.environ.get(key) or Path.home() / ".aws" / name).is_file()
        for key, name in files.items()
    )


class _ArrowBackend:
    def __init__(self, filesystem: Any, root: str) -> None:
        import pyarrow as pa

        # Of names that it does not take Arrow has errors of its own.
        self.faults: tuple[type[Exception], ...] = (OSError, pa.ArrowException)
        self._fs = filesystem
        self._root = root
        # Some S3 servers tell parts of a second, but in listings alone.
        self._step_ns = _SECOND_NS if filesystem.type_name == "s3" else 1

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def listed(self, prefix: str) -> Iterator[Object]:
        from pyarrow import fs

        selector = fs.FileSelector(self._path(prefix), recursive=True, allow_not_found=True)
        for info in self._fs.get_file_info(selector):
            # A folder on S3 is an empty object or only a thought.
            if info.type == fs.FileType.File and not info.path.endswith("/"):
                yield self._object(info.path[len(self._root) + 1 :], info)

    def stat(self, names: Sequence[str]) -> list[Object | None]:
        from pyarrow import fs

        found = self._fs.get_file_info([self._path(name) for name in names])
        return [
            self._object(name, info) if info.type == fs.FileType.File else None
            for name, info in zip(names, found, strict=True)
        ]

    def _object(self, name: str, info: Any) -> Object:
        time_ns = info.mtime_ns or 0
        return Object(name, info.size, time_ns - time_ns % self._step_ns)

    def tag(self, name: str) -> str:
        if self._step_ns == 1:
            return ""
        with self._fs.open_input_stream(self._path(name)) as source:
            return _etag(source)

    def get(self, name: str, target: Path) -> None:
        with self._fs.open_input_stream(self._path(name)) as source, target.open("wb") as out:
            begun = _etag(source)
            shutil.copyfileobj(source, out, _COPY_BYTES)
            many = out.tell() > _COPY_BYTES
        # Each part is a request of its own.
        if many and self.tag(name) not in ("", begun):
            raise InterruptedError("it was written anew while it was read")

    def put(self, source: Path, name: str) -> None:
        path, parts = self._path(name), _parts(source)
        # First: a file that cannot be read must not cost the object that is there.
        first = next(parts, b"")
        try:
            with self._fs.open_output_stream(path) as out:
                for part in chain([first], parts):
                    out.write(part)
        except self.faults:
            raise
        except BaseException:
            # Arrow finishes an object on leaving, one that was cut short (by Ctrl-C), too.
            with suppress(*self.faults):
                self._fs.delete_file(path)
            raise

    def delete(self, name: str) -> None:
        self._fs.delete_file(self._path(name))


def _etag(stream: Any) -> str:
    return bytes((stream.metadata() or {}).get("ETag", b"")).decode("utf-8", "replace")


def _parts(source: Path) -> Iterator[bytes]:
    """Yields a local file in parts.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with source.open("rb") as file:
            while part := file.read(_COPY_BYTES):
                yield part
    except OSError as error:
        raise InputError(
            f"this file cannot be read, and so not be put at its URL: {error.strerror}",
            where=str(source),
            remedy="check the disk; then run again: what is missing is made anew",
        ) from error


class _FsspecBackend:
    # The packages behind fsspec raise errors of their own (huggingface_hub: httpx's).
    faults: tuple[type[Exception], ...] = (Exception,)

    def __init__(self, url: StorageUrl) -> None:
        import fsspec  # type: ignore[import-untyped]

        options = _http_options() if url.scheme in ("http", "https") else {}
        try:
            self._fs = fsspec.filesystem(url.scheme, use_listings_cache=False, **options)
        except (ValueError, ImportError) as error:
            raise InputError(
                f"nothing here reads {url.scheme}:// URLs: {error}",
                where=url.shown,
                remedy="use s3://, gs:// or hf://, or install the fsspec package of that scheme",
            ) from error
        # A local path begins with a slash, which a StorageUrl leaves out; of http:// it is the URL.
        text = url.shown.replace("://", ":///", 1) if url.scheme in LOCAL_SCHEMES else url.shown
        self._root = str(self._fs._strip_protocol(text)).rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _object(self, name: str, info: Mapping[str, Any]) -> Object:
        return Object(name, int(info["size"] or 0), _version(info))

    def listed(self, prefix: str) -> Iterator[Object]:
        try:
            found = self._fs.find(self._path(prefix), detail=True)
        except FileNotFoundError:
            return
        for info in found.values():
            # A page on the web may link to another server's.
            if info["type"] == "file" and str(info["name"]).startswith(f"{self._path(prefix)}/"):
                yield self._object(str(info["name"])[len(self._root) + 1 :], info)

    def stat(self, names: Sequence[str]) -> list[Object | None]:
        return [self._stat(name) for name in names]

    def _stat(self, name: str) -> Object | None:
        try:
            info = self._fs.info(self._path(name))
        except FileNotFoundError:
            return None
        return self._object(name, info) if info["type"] == "file" else None

    def tag(self, name: str) -> str:
        return ""

    def get(self, name: str, target: Path) -> None:
        self._fs.get_file(self._path(name), str(target))

    def put(self, source: Path, name: str) -> None:
        self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(source), self._path(name))

    def delete(self, name: str) -> None:
        self._fs.rm_file(self._path(name))


def _http_options() -> dict[str, Any]:
    """Returns limits for a silent server; aiohttp's own is five minutes for a file of any size."""
    from aiohttp import ClientTimeout

    limits = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=REQUEST_SECONDS)
    return {"client_kwargs": {"timeout": limits}}


def _version(info: Mapping[str, Any]) -> int:
    """Returns a number that changes with the object."""
    known = [info[key] for key in _VERSION_KEYS if info.get(key)]
    known = known or [info[key] for key in _TIME_KEYS if info.get(key)]
    return _like_time([str(value) for value in known]) if known else 0


def _like_time(values: Sequence[object]) -> int:
    """Returns a hash shaped like a time before 2002, in whole seconds: some disks keep no parts."""
    return int(sha256_value(list(values))[:15], 16) % _SECOND_NS * _SECOND_NS
