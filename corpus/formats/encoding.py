"""Bytes to text: what the bytes say of their encoding first, guesses last."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from core.rejects import Reason
from corpus.reading import Unreadable

_BOMS = (
    # UTF-32 first: its little-endian mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESS_BYTES = 200_000
# A guess must be one of these. The Latin ones are too close to each other to be told apart.
_GUESSES = frozenset(
    [
        "utf_16", "utf_16_le", "utf_16_be", "cp1251", "koi8_r", "iso8859_5", "mac_cyrillic",
        "cp1253", "iso8859_7", "cp1255", "cp1256",
    ]
)  # fmt: skip
_MIN_COHERENCE_PERCENT = 20.0
# East Asian sets decode each other's bytes; only the commonest characters tell which is right.
_KANA = "".join(map(chr, range(0x3041, 0x30F7)))
_EAST_ASIAN = (
    ("euc_jp", _KANA, 0.15),
    ("cp932", _KANA, 0.15),
    ("cp949", "다는이의을를에가은고", 0.05),
    ("gb18030", "的是一在不了有和人这", 0.03),
    ("big5", "的是一在不了有和人這", 0.03),
)
# Codecs of Python that no text is written in; one has only errors, one takes quadratic time.
_NO_TEXT = frozenset(["undefined", "idna", "punycode", "unicode_escape", "raw_unicode_escape"])
_GOOD_PER_BAD = 20
"""Characters of several bytes for each byte that fits none: far more than chance gives."""
_MAX_CONTROL_SHARE = 0.005
_MAX_HIGH_SHARE = 0.10
_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 26, 27}) + b"\x7f"


def decode(data: bytes, name: str, declared: str | None = None) -> tuple[str, str]:
    r"""Returns (text with ``\n`` line ends, encoding).

    Args:
        data: the file.
        name: for messages.
        declared: encoding that the file or its header names.

    Raises:
        Unreadable: it is binary or in no encoding that can be told.
    """
    text, encoding = _decode(data, name, declared)
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _decode(data: bytes, name: str, declared: str | None) -> tuple[str, str]:
    for mark, marked in _BOMS:
        if data.startswith(mark):
            try:
                return data.decode(marked), marked
            except UnicodeDecodeError as error:
                raise _undecodable(data, name, error) from None
    controls = len(data) - len(data.translate(None, _CONTROL))
    binary = controls > max(2, len(data) * _MAX_CONTROL_SHARE)
    failed: UnicodeDecodeError | None = None
    for encoding in ("utf-8", _known(declared)):
        if encoding is None or (binary and not encoding.startswith(("utf-16", "utf-32"))):
            continue
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError as error:
            failed = failed or error
    if not binary and (damaged := _damaged_utf8(data)) is not None:
        return damaged, "utf-8, damaged"
    if binary and b"\0" not in data[:_GUESS_BYTES]:
        raise Unreadable(Reason.INVALID_UTF8, f"{name}: binary", repr(data[:200]))
    guess = _guess(data, binary)
    if guess is None:
        raise _undecodable(data, name, failed)
    return guess


def _damaged_utf8(data: bytes) -> str | None:
    """Returns UTF-8 with its few stray bytes replaced, such as half a character at a cut."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = len(text) - bad - sum(map(len, re.findall(r"[\x00-\x7f]+", text)))
    return text if good >= bad * _GOOD_PER_BAD else None


def _guess(data: bytes, binary: bool) -> tuple[str, str] | None:
    high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    if not binary and high <= len(data) * _MAX_HIGH_SHARE:
        return _western(data)
    east_asian = None if binary else _east_asian(data)
    if east_asian is not None:
        return east_asian
    best = from_bytes(data[:_GUESS_BYTES]).best()
    told = best is not None and (
        best.encoding.startswith("utf") or best.percent_coherence >= _MIN_COHERENCE_PERCENT
    )
    if best is not None and told and best.encoding in _GUESSES and best.percent_chaos < 10:
        try:
            text = data.decode(best.encoding)
        except (UnicodeDecodeError, LookupError):
            text = "\0"
        if "\0" not in text:
            return text, best.encoding
    return None if binary or high > len(data) * 0.3 else _western(data)


def _east_asian(data: bytes) -> tuple[str, str] | None:
    for encoding, common, least in _EAST_ASIAN:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        sample = [c for c in text[:20_000] if c > "\x7f"]
        if len(sample) >= 20 and sum(c in common for c in sample) >= least * len(sample):
            return text, encoding
    return None


def _western(data: bytes) -> tuple[str, str]:
    # Windows' set has quotes and dashes where ISO 8859-1 has control codes that no text uses.
    try:
        text = data.decode("cp1252")
        used = re.search(rb"[\x80-\x9f]", data) is not None
        return text, "cp1252" if used else "iso8859-1"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "iso8859-1"


def _known(declared: str | None) -> str | None:
    if not declared:
        return None
    try:
        name = codecs.lookup(declared.strip()).name
    except (LookupError, ValueError):
        return None
    # Python has codecs that are no encodings of text, such as zlib.
    known = codecs.lookup(name)._is_text_encoding and name.replace("-", "_") not in _NO_TEXT
    return name if known else None


def _undecodable(data: bytes, name: str, error: UnicodeDecodeError | None) -> Unreadable:
    start = error.start if error else 0
    detail = f"{name}: byte {start}: {error.reason if error else 'no known encoding'}"
    return Unreadable(Reason.INVALID_UTF8, detail, repr(data[max(0, start - 200) : start + 200]))
