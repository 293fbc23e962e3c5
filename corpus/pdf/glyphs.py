"""Characters as PDFs give them, made ordinary: ligatures, accents set apart, math letters.

Superscripts and subscripts are written as plain adjacent text (``10^5`` in print is ``105``), as
PDFium gives them and as text models meet them everywhere.
"""

from __future__ import annotations

import re
import unicodedata

_LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
}
_SPACES = dict.fromkeys([0x00A0, *range(0x2002, 0x2007), 0x2009, 0x200A, 0x202F], " ")
# Controls stand for glyphs without a name; private-use characters for pieces of large brackets and
# icons. Neither says anything.
_CONTROLS = dict.fromkeys([*range(9), *range(0x0B, 0x20), 0x7F, *range(0x80, 0xA0), 0xFFFE, 0xFFFF])
_MARKS = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0xFEFF])
_MATH = {
    code: folded
    for code in range(0x1D400, 0x1D800)
    if (folded := unicodedata.normalize("NFKC", chr(code))) != chr(code)
}
_TABLE = {**_LIGATURES, **_SPACES, **_CONTROLS, **_MARKS, **_MATH}
_ODD = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\xa0\\xad\\u2002-\\u200c\\u202f\\ue000-\\uf8ff\\ufb00-\\ufb06"
    "\\ufeff\\ufffe\\uffff\\U0001d400-\\U0001d7ff\\U000f0000-\\U0010ffff]+"
)
# A superset of the odd characters, and surrogates: quicker to look for.
_UNUSUAL = re.compile("[^\\t\\n -~\\xa1-\\xac\\xae-\\u2001\\u200d-\\u202e\\u2030-\\ud7ff]")
_PRIVATE = re.compile("[\\ue000-\\uf8ff\\U000f0000-\\U0010ffff]+")
# TeX's own encodings put ligatures, and the sign of the Sun, among the controls.
_TEX_LIGATURES = {"\x0b": "ff", "\x0c": "fi", "\x0d": "fl", "\x0e": "ffi", "\x0f": "ffl"}
_OLD_LIGATURE = re.compile(r"(?<=[a-z])[\x0b-\x0f](?=[a-z])|(?<![A-Za-z])[\x0b-\x0f](?=[a-z]{2})")
_SUN = re.compile(r"([A-Z)])\x0c")
_COMBINING = {
    "´": "\u0301",
    "`": "\u0300",
    "¨": "\u0308",
    "ˆ": "\u0302",
    "˜": "\u0303",
    "ˇ": "\u030c",
    "˚": "\u030a",
    "¯": "\u0304",
    "˘": "\u0306",
    "˝": "\u030b",
    "˙": "\u0307",
    "¸": "\u0327",
}
# TeX sets an accent before its letter, as a character of its own: touching it, or inside a word
# with spaces around it. The caron and acute of Slavic names come behind as well. A backtick is an
# accent only inside a word.
_ACCENTED = re.compile(
    r"([´¨ˆ˜ˇ˚¯˘˝˙])([A-Za-zı])|(?<=[a-z]) ([´¨ˆ˜ˇ˚˘]) ([a-zı])"
    r"|(?<=[a-z])([´ˇ]) ([csznr])\b|(?<=[A-Za-z])(`)([aeiouAEIOU])"
)
_ACCENT_BEHIND = re.compile(r"(?<=[a-z])([cszn])([´ˇ])(?=[\s,.;)]|\Z)")
_CEDILLA = re.compile(r"¸([cstCSTeE])|([cstCST])¸")
_HAS_ACCENT = re.compile("[´`¨ˆ˜ˇ˚¯˘˝˙¸]")


def clean(text: str) -> str:
    """Returns text with ordinary characters."""
    if text.isascii() and text.isprintable() and "`" not in text:
        return text
    if _UNUSUAL.search(text):
        # Surrogates that stand apart are joined; a half without its other half becomes U+FFFD.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if _OLD_LIGATURE.search(text) or "\x0c" in text:
            text = _SUN.sub("\\1⊙", _OLD_LIGATURE.sub(_old_ligature, text))
        text = _ODD.sub(_ordinary, text)
    if _HAS_ACCENT.search(text):
        text = _ACCENTED.sub(_accented, text)
        if "¸" in text:
            text = _CEDILLA.sub(_with_cedilla, text)
        text = _ACCENT_BEHIND.sub(_accented_behind, text)
    return text


def _ordinary(match: re.Match[str]) -> str:
    return _PRIVATE.sub("", match.group()).translate(_TABLE)


def _old_ligature(match: re.Match[str]) -> str:
    return _TEX_LIGATURES[match.group()]


def _accented(match: re.Match[str]) -> str:
    accent, letter = (group for group in match.groups() if group)
    return _composed(letter, accent) or match.group()


def _accented_behind(match: re.Match[str]) -> str:
    return _composed(match.group(1), match.group(2)) or match.group()


def _composed(letter: str, accent: str) -> str:
    composed = unicodedata.normalize("NFC", letter.replace("ı", "i") + _COMBINING[accent])
    # No such letter: the two were not one.
    return composed if len(composed) == 1 else ""


def _with_cedilla(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", (match.group(1) or match.group(2)) + _COMBINING["¸"])


_BAD = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ufffd\\ue000-\\uf8ff\\U000f0000-\\U0010ffff]")
_CID = re.compile(r"\(cid:\d{1,6}\)")
# Four consonants or more and no vowel, as encodings gone wrong and bad OCR give.
_NO_WORD = re.compile(
    r"[ \n][b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{3,30}[b-df-hj-np-tv-xz](?=[ \n,.;:)])"
)
_CONSONANTS = frozenset("bcdfghjklmnpqrstvwxzBCDFGHJKLMNPQRSTVWXZ")


def _kind(character: str) -> str:
    return "c" if character in _CONSONANTS else " " if character in " \n" else "."


_KINDS = bytes(ord(_kind(chr(code))) for code in range(256))


def quality(text: str) -> float:
    """Says how much a page's text looks like text, from 0 to 1.

    It is the product of two shares: characters that are characters (not U+FFFD, controls, private
    use or ``(cid:...)``), and words that look like words (with a vowel, if of four letters or more
    and not all capitals). Scripts other than Latin are judged by their characters alone.
    """
    count = len(text)
    if not count or text.isspace():
        return 0.0
    bad = len(_BAD.findall(text))
    if "(cid:" in text:
        bad += sum(map(len, _CID.findall(text)))
    words = text.count(" ") + text.count("\n") + 1
    odd = _odd_words(f"\n{text}\n")
    return round((1.0 - min(1.0, bad / count)) * (1.0 - min(1.0, odd / words)), 4)


def _odd_words(text: str) -> int:
    # Looking for four consonants in a row among bytes is several times faster than the pattern,
    # which then judges the few places that have them.
    kinds = text.encode("latin-1", "replace").translate(_KINDS)
    count = 0
    place = kinds.find(b" cccc")
    while place >= 0:
        count += _NO_WORD.match(text, place) is not None
        place = kinds.find(b" cccc", place + 5)
    return count
