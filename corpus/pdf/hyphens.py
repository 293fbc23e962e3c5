"""Words cut at the end of a line: which lose their hyphen, and which keep it.

The document itself is the dictionary: a word that it writes whole elsewhere (``galaxies``) was cut
by the typesetter, one that it writes with a hyphen elsewhere (``well-known``) was not. A word that
it has neither way loses the hyphen, because most hyphens at line ends are the typesetter's, except
where the parts tell otherwise: after a digit or a capital, before a capital or a digit
(``X-ray``, ``Lyman-Werner``), and after prefixes that are always written with one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Protocol


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MARKS = tuple(".,;:()[]{}!?\"'“”‘’/|*_#\n\t")
# Matched from the end of the text backwards.
_LAST_PART = re.compile(r"[^\W_]{1,64}(?:-[^\W_]{1,64}){0,3}")
_FIRST_PART = re.compile(r"[^\W_]{1,64}")
_ALWAYS = _words(
    """self well low high non semi quasi pseudo half near far ill all cross long short post pre two
    three four five six seven eight nine ten first second third one single double multi star mid
    early late large small"""
)
# Prefixes of the list above that also begin ordinary words: those go by the dictionary alone.
_DOUBTFUL = _words("non semi multi pre post all far ill one ten near star mid")
# Ordinary words made of two words, written as one.
_CLOSED = _words(
    """however whenever wherever everywhere elsewhere otherwise therefore throughout understand
    understanding understood overlap background foreground widespread straightforward moreover
    likewise outside inside within without another somewhat sometimes meanwhile something
    everything anything nothing become becomes overview overall framework network software hardware
    bandwidth timescale lightcurve spacecraft worldwide undergo undertake outline maybe myself
    itself themselves thereby hereafter thereafter whereas output input upper breakdown baseline
    database photometric underlying overcome"""
)
_MAX_SEARCHES = 24
_CUT = frozenset(("-", "\ufffe", "\x02", "\xad"))


class Vocabulary(Protocol):
    """How often a document has each word, in lower case; words with hyphens and parts too."""

    def get(self, word: str, default: int, /) -> int:
        """Returns how often the document has a word."""

    def __contains__(self, word: object, /) -> bool: ...


class SearchedWords:
    """A vocabulary that looks for words when it is asked: quicker for a few of them.

    After some it counts all words after all, so that long documents take no longer.

    Args:
        lines: as :func:`vocabulary` takes them.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._text = f" {_plain_words(lines)} "
        self._counts: Counter[str] | None = None
        self._searches = 0

    def get(self, word: str, default: int, /) -> int:
        """Returns how often the document has a word, ``default`` where it does not."""
        if self._counts is None and self._searches >= _MAX_SEARCHES:
            self._counts = Counter(self._text.split())
        if self._counts is not None:
            return self._counts.get(word, default)
        self._searches += 1
        text = self._text
        count = 0
        place = text.find(word)
        while place >= 0:
            end = place + len(word)
            count += text[place - 1].isspace() and text[end].isspace()
            place = text.find(word, end)
        return count or default

    def __contains__(self, word: object, /) -> bool:
        return isinstance(word, str) and self.get(word, 0) > 0


def vocabulary(lines: Iterable[str]) -> Counter[str]:
    """Counts the words of a document, in lower case, hyphens inside words kept.

    Args:
        lines: lines or paragraphs; the pieces of a word that is cut at a line's end do not count.
    """
    return Counter(_plain_words(lines).split())


def _plain_words(lines: Iterable[str]) -> str:
    """Returns lines as one text in lower case, without marks and the pieces of cut words."""
    whole = []
    cut = False
    for line in lines:
        if cut:
            line = line.partition(" ")[2]
        cut = line[-1:] in _CUT
        whole.append(line.rpartition(" ")[0] if cut else line)
    text = " ".join(whole).lower()
    # Replacing marks and splitting is several times faster than a pattern of words.
    for mark in _MARKS:
        text = text.replace(mark, " ")
    return text


def join_cut_word(head: str, tail: str, words: Vocabulary) -> str:
    """Joins two pieces of text where the first ends with a hyphen at the end of a line.

    Args:
        head: text that ends with ``-``.
        tail: the text after it.
        words: the document's words.

    Returns:
        Both as one text, with or without the hyphen.
    """
    stem = head[:-1]
    if keeps_hyphen(stem, tail, words):
        return head + tail
    return stem + tail


def keeps_hyphen(stem: str, tail: str, words: Vocabulary) -> bool:
    """Says whether the hyphen between two parts of a word at a line's end belongs to the word."""
    ends = stem[-140:].rsplit(None, 1)
    first = _LAST_PART.match(ends[-1][::-1]) if ends else None
    second = _FIRST_PART.match(tail)
    before = first.group()[::-1] if first else ""
    if not before or second is None:
        return True
    after = second.group()
    if not after[0].islower() or not before[-1].islower():
        return True
    before, after = before.lower(), after.lower()
    last = before.rsplit("-", 1)[-1]
    whole, hyphened = words.get(last + after, 0), words.get(f"{last}-{after}", 0)
    if whole or hyphened:
        return hyphened > whole
    if last.endswith("ly") and len(last) > 4 and after.endswith(("ed", "ing", "type")):
        return last not in ("analy", "cataly", "paraly")
    if last in _DOUBTFUL:
        return False
    if last in _ALWAYS:
        return True
    # Two whole words that the document has apart were a compound: "velocity-" "space".
    return (
        len(last) > 3
        and len(after) > 3
        and last in words
        and after in words
        and last + after not in _CLOSED
    )
