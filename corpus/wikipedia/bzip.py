"""Reading a bzip2 file from its middle: blocks are found by their magic number and decoded alone.

A bzip2 stream is a row of independent blocks of up to 900 kB of text, which start at any bit. Each
opens with the 48-bit magic number 0x314159265359 and its checksum, so a block cut out and put
between a header and a footer of its own is a bzip2 file again (what ``bzip2recover`` does). That
makes a dump of one stream, or of many without an index, readable in parallel, and a damaged block
costs only the pages in it.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import IO

_MAGIC = 0x314159265359
_FOOTER = 0x177245385090
_MAGIC_BITS = 48
_FOOTER_BITS = _MAGIC_BITS + 32
_HEADER_BITS = 32
_WINDOW_BYTES = 4 << 20


def _patterns() -> list[tuple[int, bytes, int, int, int, int]]:
    # At bit shift s the number covers seven bytes, of which the middle five are known whole.
    found = []
    for shift in range(8):
        spread = (_MAGIC << (8 - shift)).to_bytes(7, "big")
        first_mask, last_mask = 0xFF >> shift, 0xFF & (0xFF00 >> shift)
        found.append((shift, spread[1:6], first_mask, spread[0], last_mask, spread[6]))
    return found


_PATTERNS = _patterns()


def _in_window(window: bytes) -> list[int]:
    bits = []
    for shift, middle, first_mask, first, last_mask, last in _PATTERNS:
        at = window.find(middle, 1)
        while at >= 0:
            # One byte more is needed behind, except at shift 0, where it is masked away.
            behind = window[at + 5] if at + 5 < len(window) else 0
            if window[at - 1] & first_mask == first and behind & last_mask == last:
                bits.append((at - 1) * 8 + shift)
            at = window.find(middle, at + 1)
    return sorted(bits)


def block_starts(file: IO[bytes], from_bit: int = 0) -> Iterator[int]:
    """Yields the bit offsets of blocks at or after ``from_bit``, ascending."""
    file.seek(from_bit // 8)
    base, window = from_bit // 8, b""
    last = from_bit - 1
    while chunk := file.read(_WINDOW_BYTES):
        window += chunk
        place = file.tell()
        for bit in _in_window(window):
            # What the overlap holds whole was seen before.
            if base * 8 + bit > last:
                last = base * 8 + bit
                yield last
        file.seek(place)
        base += max(0, len(window) - 7)
        window = window[-7:]


def read_blocks(file: IO[bytes], from_bit: int) -> Iterator[tuple[int, bytes | None]]:
    """Yields (bit offset, text) of the blocks from one on; the text of a damaged block is None."""
    starts = block_starts(file, from_bit)
    start = next(starts, None)
    while start is not None:
        following = next(starts, None)
        text = _decode(file, start, following)
        if text is None and following is not None:
            # The magic number may stand inside a block by chance: try up to the one after.
            second = next(starts, None)
            text = _decode(file, start, second)
            if text is None:
                yield start, None
                yield following, _decode(file, following, second)
            else:
                yield start, text
            start = second
            continue
        yield start, text
        start = following


def _decode(file: IO[bytes], start: int, following: int | None) -> bytes | None:
    place = file.tell()
    try:
        end = _block_end(file, start, following)
        count = end - start
        if count <= _FOOTER_BITS or count > _WINDOW_BYTES * 8:
            return None
        bits = _bits(file, start, count)
        checksum = bits >> (count - _FOOTER_BITS) & 0xFFFFFFFF
        whole = (bits << _MAGIC_BITS | _FOOTER) << 32 | checksum
        padding = -(count + _FOOTER_BITS) % 8
        body = (whole << padding).to_bytes((count + _FOOTER_BITS + padding) // 8, "big")
        return bz2.decompress(b"BZh9" + body)
    except (OSError, ValueError, EOFError):
        return None
    finally:
        file.seek(place)


def _bits(file: IO[bytes], start: int, count: int) -> int:
    file.seek(start // 8)
    last = start + count
    data = file.read(-(-last // 8) - start // 8)
    if len(data) * 8 < last - start // 8 * 8:
        raise EOFError
    return int.from_bytes(data, "big") >> (-last % 8) & ((1 << count) - 1)


def _block_end(file: IO[bytes], start: int, following: int | None) -> int:
    """Returns where the block's bits end: at the next block, or at its stream's footer."""
    if following is None:
        end = file.seek(0, 2) * 8
    elif following % 8 == 0 and _is_header(file, following - _HEADER_BITS):
        end = following - _HEADER_BITS
    else:
        return following
    while (footer := _footer_before(file, start, end)) is not None:
        end = footer
        # An empty stream is a header and a footer, without a block.
        if footer % 8 or not _is_header(file, footer - _HEADER_BITS):
            break
        end = footer - _HEADER_BITS
    return end


def _is_header(file: IO[bytes], bit: int) -> bool:
    if bit < 0:
        return False
    file.seek(bit // 8)
    head = file.read(4)
    return head[:3] == b"BZh" and head[3:].isdigit()


def _footer_before(file: IO[bytes], start: int, end: int) -> int | None:
    for padding in range(8):
        footer = end - padding - _FOOTER_BITS
        if footer > start and _bits(file, footer, _MAGIC_BITS) == _FOOTER:
            return footer
    return None
