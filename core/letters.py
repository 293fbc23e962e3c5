r"""A text as the bare letters and digits that it says, whatever its typography.

Duplicates and leaked benchmark questions hide behind case, punctuation, accents, ligatures, Unicode
next to TeX, and line breaks. What is left without those is compared: the text's letters and digits,
small, without accents, Greek by name (``α`` and ``\alpha`` are both ``alpha``), each with its
place in the text. One table look-up per character, in numpy.

::

    "Schrödinger, Hα"  ->  s c h r o d i n g e r   h a l p h a
                           0 1 2 3 4 5 6 7 8 9 10  13 14 14 14 14 14
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon"),
    *("phi", "chi", "psi", "omega"),
)
"""Names of α (U+03B1) to ω; the second sigma is the one that ends words."""

Codes = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]

_TABLE_SIZE = 0x20000
_GAP, _DROPPED, _EXPANDED = 0, 1, 0x200000
_TAGS_FROM = 0xE0000
# CJK ideographs and Hangul syllables: many, and all of them letters.
_AS_THEY_ARE = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xD7A4))
# Scripts written without spaces: Kana, Bopomofo, CJK ideographs. Each letter is a word.
_UNSPACED = ((0x3040, 0x3130), (0x31A0, 0xA000), (0xF900, 0xFB00), (0x20000, _TAGS_FROM))


@dataclass(frozen=True)
class Letters:
    """The letters of a text.

    Args:
        codes: code point of each letter, after normalization.
        places: where in the text each letter stands, in characters, ascending; letters that one
            character gave (``ﬁ``) share its place.
        starts: whether a word starts at the letter.
    """

    codes: Codes
    places: Places
    starts: npt.NDArray[np.bool_]

    def text(self) -> str:
        """Returns the letters as one string, without spaces."""
        return self.codes.astype("<u4").tobytes().decode("utf-32-le")

    def word_bounds(self) -> tuple[Places, Places]:
        """Returns the first letter of each word and the one after its last."""
        first = np.flatnonzero(self.starts)
        return first, np.append(first[1:], len(self.codes))


def code_points(text: str) -> Codes:
    """Returns the text's code points; half a surrogate pair is one, too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def letters(text: str, hidden: npt.NDArray[np.bool_] | None = None) -> Letters:
    """Returns the letters of a text.

    Args:
        text: any text.
        hidden: characters to pass over as if they were spaces, one flag per character.
    """
    codes = _plain(text) if text.isascii() else _any(text)
    if hidden is not None:
        codes[hidden] = _GAP
    dropped = codes == _DROPPED
    kept = None
    if dropped.any():
        kept = np.flatnonzero(~dropped)
        codes = codes[kept]
    places = np.flatnonzero(codes)
    starts = np.empty(len(places), dtype=np.bool_)
    starts[:1] = True
    np.greater(places[1:] - places[:-1], 1, out=starts[1:])
    codes = codes[places].astype(np.uint32, copy=False)
    places = places if kept is None else kept[places]
    if len(codes) and codes.max() >= _EXPANDED:
        codes, places, starts = _expand(codes, places, starts, _tables()[1])
    unspaced = _is_unspaced(codes)
    if unspaced is not None:
        starts |= unspaced
        starts[1:] |= unspaced[:-1]
    return Letters(codes, places, starts)


def _said(character: str) -> str:
    """Returns the letters and digits that one character says."""
    if character.isascii():
        return character.lower() if character.isalnum() else ""
    if unicodedata.category(character) in ("Cs", "Co", "Cn"):
        return ""
    said = ""
    # Lower case before and after: of a letter such as the Kelvin sign only the second is plain.
    for part in unicodedata.normalize("NFKD", character.lower()).lower():
        if "α" <= part <= "ω":
            said += GREEK[ord(part) - ord("α")]
        elif part.isalnum():
            said += part
    return said


_ASCII = np.array([ord(_said(chr(point)) or "\0") for point in range(128)], dtype=np.uint8)


def _plain(text: str) -> npt.NDArray[Any]:
    # ASCII is most of all text: one byte a letter, until the gaps are gone.
    return np.asarray(_ASCII[np.frombuffer(text.encode("ascii"), dtype=np.uint8)])


def _any(text: str) -> npt.NDArray[Any]:
    points = code_points(text)
    first, _ = _tables()
    codes: Codes = first[np.minimum(points, _TABLE_SIZE - 1)]
    if not len(points) or points.max() < _TABLE_SIZE:
        return codes
    beyond = points >= _TABLE_SIZE
    codes[beyond] = np.where(points[beyond] < _TAGS_FROM, points[beyond], _DROPPED)
    return codes


def _is_unspaced(codes: Codes) -> npt.NDArray[np.bool_] | None:
    if not len(codes) or codes.max() < _UNSPACED[0][0]:
        return None
    flags = np.zeros(len(codes), dtype=np.bool_)
    for low, high in _UNSPACED:
        flags |= (codes >= low) & (codes < high)
    return flags


def _expand(
    codes: Codes, places: Places, starts: npt.NDArray[np.bool_], pieces: tuple[Codes, ...]
) -> tuple[Codes, Places, npt.NDArray[np.bool_]]:
    """Puts the letters of a ligature, fraction or Greek letter in its place."""
    parts, begin = [], 0
    counts = np.ones(len(codes), dtype=np.int64)
    for at in np.flatnonzero(codes >= _EXPANDED).tolist():
        piece = pieces[int(codes[at]) - _EXPANDED]
        parts += [codes[begin:at], piece]
        counts[at] = len(piece)
        begin = at + 1
    parts.append(codes[begin:])
    firsts = np.cumsum(counts) - counts
    wide = np.zeros(int(counts.sum()), dtype=np.bool_)
    wide[firsts] = starts
    return np.concatenate(parts), np.repeat(places, counts), wide


@cache
def _tables() -> tuple[Codes, tuple[Codes, ...]]:
    """Returns what each code point becomes, and the sequences that some become."""
    first = np.zeros(_TABLE_SIZE, dtype=np.uint32)
    numbers: dict[str, int] = {}
    for low, high in _AS_THEY_ARE:
        first[low:high] = np.arange(low, high)
    for point in np.flatnonzero(first == _GAP).tolist():
        said = _said(chr(point))
        if len(said) == 1:
            first[point] = ord(said)
        elif said:
            first[point] = _EXPANDED + numbers.setdefault(said, len(numbers))
        elif unicodedata.category(chr(point)) in ("Mn", "Me", "Cf"):
            # Accents, soft hyphens and zero-width joiners stand inside words.
            first[point] = _DROPPED
    return first, tuple(code_points(said) for said in numbers)
