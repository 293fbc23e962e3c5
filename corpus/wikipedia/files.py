"""Compressed files read in bounded pieces, with their position for a progress bar."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from core.errors import InputError

Tick = Callable[[int], None]
"""Told how many more bytes of the file, as it lies on disk, have been read."""

CHUNK_BYTES = 2 << 20
"""Read at once: large enough that work per piece does not show, small enough not to matter."""

READ_ERRORS = (OSError, EOFError, zlib.error)
"""What a truncated or corrupt compressed file raises, of whichever kind it is."""


def open_decompressed(raw: IO[bytes]) -> IO[bytes]:
    """Returns the decompressed bytes of an open file; its kind is told by its first bytes."""
    head = raw.read(3)
    raw.seek(0)
    if head[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw, mode="rb")  # type: ignore[return-value]
    if head == b"BZh":
        return bz2.BZ2File(raw)
    return raw


def read_some(stream: IO[bytes], count: int) -> bytes:
    """Reads up to ``count`` bytes; of a truncated file, all that can be decompressed."""
    if not isinstance(stream, gzip.GzipFile | bz2.BZ2File):
        return stream.read(count)
    pieces, left = [], count
    try:
        while left and (piece := stream.read1(left)):
            pieces.append(piece)
            left -= len(piece)
    except READ_ERRORS:
        # read() would lose what it has gathered; the next call raises again.
        if not pieces:
            raise
    return b"".join(pieces)


def read_chunks(path: Path, remedy: str, tick: Tick | None = None) -> Iterator[bytes]:
    """Yields a file's decompressed content in pieces of at most :data:`CHUNK_BYTES`.

    Args:
        path: a plain, ``.gz`` or ``.bz2`` file.
        remedy: what the user can do about a damaged file.
        tick: told of progress.

    Raises:
        InputError: the file is missing, truncated or corrupt.
    """
    try:
        with path.open("rb") as raw, open_decompressed(raw) as stream:
            seen = 0
            while chunk := stream.read(CHUNK_BYTES):
                if tick is not None:
                    tick(raw.tell() - seen)
                    seen = raw.tell()
                yield chunk
    except READ_ERRORS as error:
        raise InputError(
            f"cannot read this file to its end: {error or type(error).__name__}",
            where=str(path),
            remedy=remedy,
        ) from error
