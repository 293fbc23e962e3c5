"""Finds the elements of a JSON array without reading the file into memory.

Why not a JSON parser that streams (ijson): it stops for good at the first broken element and at
the first byte that is not UTF-8, and cannot start in the middle. Here an element is the bytes
between two commas at depth one, found by counting brackets outside of strings with numpy; each is
parsed by itself, so one bad element costs one element. It also skips to any element at the speed of
that count, which is how the blocks of a large file are read in parallel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

_CHUNK_BYTES = 1 << 20

# A backslash and what follows it; the last one of a chunk may have lost its partner.
_ESCAPE = re.compile(rb"\\.", re.DOTALL)

_STEP = np.zeros(256, dtype=np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1
_QUOTE, _COMMA = ord('"'), ord(",")


class _Scanner:
    """Follows strings and depth through consecutive chunks."""

    def __init__(self) -> None:
        self._in_string = 0
        self._depth = 0
        self._escape_open = False

    def breaks(self, chunk: bytes) -> list[tuple[int, bool]]:
        """Returns the places in a chunk where an element ends, each with "the array ends here"."""
        view = np.frombuffer(self._without_escapes(chunk), dtype=np.uint8)
        quotes = np.cumsum(view == _QUOTE, dtype=np.int64) + self._in_string
        self._in_string = int(quotes[-1] & 1) if len(quotes) else self._in_string
        outside = (quotes & 1) == 0
        step = _STEP[view]
        step[~outside] = 0
        depth: npt.NDArray[np.int64] = np.cumsum(step, dtype=np.int64) + self._depth
        self._depth = int(depth[-1]) if len(depth) else self._depth
        ends = (view == _COMMA) & outside & (depth == 1)
        closes = (step == -1) & (depth == 0)
        return [(int(at), bool(closes[at])) for at in np.flatnonzero(ends | closes)]

    def _without_escapes(self, chunk: bytes) -> bytes:
        if self._escape_open:
            chunk = b"_" + chunk[1:]
        if b"\\" not in chunk:
            self._escape_open = False
            return chunk
        plain = _ESCAPE.sub(b"__", chunk)
        self._escape_open = plain.endswith(b"\\")
        return plain


def array_elements(
    file: BinaryIO, start_byte: int, end_byte: int, most_bytes: int
) -> Iterator[tuple[int, bytes, bool]]:
    """Yields (number, bytes, whole) of the elements of an array that begin in a stretch.

    Args:
        file: opened at its start; its first byte that is no white space is ``[``.
        start_byte: of the stretch. What comes before is passed over, not kept.
        end_byte: of the stretch, exclusive.
        most_bytes: an element longer than this is cut there and is not whole; nor is one that the
            file ends in, and what follows the array.
    """
    scanner = _Scanner()
    number = -1  # of the element that is open; the array's own bracket opens the first
    offset = 0
    begin = 0
    held = bytearray()
    done = False
    while chunk := file.read(_CHUNK_BYTES):
        position = 0
        if number < 0:
            bracket = chunk.find(b"[")
            if bracket < 0:
                offset += len(chunk)
                continue
            position = bracket + 1
            number, begin = 0, offset + position
            if begin >= end_byte:
                return
        for at, closes in [] if done else scanner.breaks(chunk):
            if begin >= start_byte:
                _hold(held, chunk[position:at], most_bytes)
                if held.strip() or not (closes and number == 0):
                    yield number, bytes(held[:most_bytes]), len(held) <= most_bytes
                held.clear()
            number, begin, position = number + 1, offset + at + 1, at + 1
            if closes:
                done = True
                break
            if begin >= end_byte:
                return
        if begin >= start_byte:
            _hold(held, chunk[position:], most_bytes)
        offset += len(chunk)
    if held.strip():
        yield number, bytes(held[:most_bytes]), False


def _hold(held: bytearray, more: bytes, most_bytes: int) -> None:
    # One byte more than may be: how a cut element is known.
    held += more[: max(0, most_bytes + 1 - len(held))]
