"""A text as tokens: their places and hashes, by NumPy over all characters at once.

A token is a word, a number, or one sign. Scripts without spaces, and words too long to be words
(a loop has no need of spaces: ``frameframeframe``), count character by character.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_WORD_CHARS = 32
"""A longer run of letters is taken apart."""

SPACE, SIGN, DIGIT, LETTER, GLYPH = range(5)

# Where the class changes, from Latin-1 on; coarse, since all that counts is that the same text
# always gives the same tokens. Han, kana and the like are glyphs: a token per character.
_CHANGES = (
    (0x80, SIGN), (0x85, SPACE), (0x86, SIGN), (0xA0, SPACE), (0xA1, SIGN), (0xAA, LETTER),
    (0xAB, SIGN), (0xB5, LETTER), (0xB6, SIGN), (0xBA, LETTER), (0xBB, SIGN), (0xC0, LETTER),
    (0xD7, SIGN), (0xD8, LETTER), (0xF7, SIGN), (0xF8, LETTER), (0x1680, SPACE), (0x1681, LETTER),
    (0x2000, SPACE), (0x200C, SIGN), (0x2028, SPACE), (0x202A, SIGN), (0x202F, SPACE),
    (0x2030, SIGN), (0x205F, SPACE), (0x2060, SIGN), (0x2C00, LETTER), (0x2E00, SIGN),
    (0x3000, SPACE), (0x3001, SIGN), (0x3040, GLYPH), (0xAC00, LETTER), (0xD7A4, SIGN),
    (0xF900, GLYPH), (0xFB00, LETTER), (0xFE00, SIGN), (0xFE70, LETTER), (0xFF00, SIGN),
    (0x10000, LETTER), (0x1F000, SIGN), (0x20000, GLYPH),
)  # fmt: skip


def _class_table() -> NDArray[np.uint8]:
    table = np.full(0x110000, SIGN, np.uint8)
    for code in range(0x80):
        char = chr(code)
        table[code] = SPACE if char.isspace() else DIGIT if char.isdigit() else SIGN
        if char.isalpha():
            table[code] = LETTER
    for at, (start, kind) in enumerate(_CHANGES):
        table[start : _CHANGES[at + 1][0] if at + 1 < len(_CHANGES) else None] = kind
    return table


_CLASS = _class_table()
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_NUMBER = np.uint64(0x5851F42D4C957F2D)


class Tokens(NamedTuple):
    """The N tokens of a text.

    Args:
        start: (N,) first character of each.
        end: (N,) character after its last.
        kind: (N,) ``SIGN``, ``DIGIT``, ``LETTER`` or ``GLYPH``; words are from ``LETTER`` on.
        hash: (N,) hash of its characters.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    kind: NDArray[np.uint8]
    hash: NDArray[np.uint64]

    def counts(self) -> NDArray[np.bool_]:
        """Returns which tokens may be counters: numbers and single letters."""
        single = (self.kind == LETTER) & (self.end - self.start == 1)
        counters: NDArray[np.bool_] = (self.kind == DIGIT) | single
        return counters

    def masked(self) -> NDArray[np.uint64]:
        """Returns the hashes with every counter made the same."""
        return np.where(self.counts(), _NUMBER, self.hash)


def tokenize(text: str) -> Tokens:
    """Returns the tokens of a text."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _CLASS.take(codes)
    begins = np.ones(len(codes), bool)
    begins[1:] = (kinds[1:] != kinds[:-1]) | (kinds[1:] == SIGN) | (kinds[1:] == GLYPH)
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(codes))
    long = (ends - starts > MAX_WORD_CHARS) & (kinds[starts] > SIGN)
    if long.any():
        for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
            begins[start:end] = True
        starts = np.flatnonzero(begins)
        ends = np.append(starts[1:], len(codes))
    filled = kinds[starts] != SPACE
    starts, ends = starts[filled], ends[filled]
    return Tokens(starts, ends, kinds[starts], _hashes(codes, starts, ends))


def _hashes(
    codes: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Returns hashes of stretches of characters: polynomials modulo 2^64, from sums of prefixes."""
    powers = np.multiply.accumulate(np.full(len(codes), _BASE, np.uint64))
    inverse = np.multiply.accumulate(np.full(len(codes), _INVERSE, np.uint64))
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes + np.uint32(1)) * powers, out=sums[1:])
    hashes: NDArray[np.uint64] = (sums[ends] - sums[starts]) * inverse[starts]
    return hashes
