"""What the corpus holds, in numbers: enough to say that a name means one paper, or none.

One pass over the columns of :data:`synth.metadata.paper.COLUMNS`, never the texts; about 140 bytes
a paper stay in memory (hashes of titles, of their pairs of words, of numbers and of author-year
names): 35 MB for the 250,000 papers of AstroMLab 3, 86 MiB while it is made, which takes 15 s.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from synth.metadata.paper import Paper

ALIKE = 0.7
"""Two titles that share so much of the shorter one's pairs of words may be one paper's."""

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?P<month>\d{4}\.|[a-z-]+(?:\.[A-Z]{2})?/\d{4})(?P<number>\d{3,5})\Z")

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ArxivMonth:
    """The part of arXiv's numbers that papers of one month share.

    Args:
        prefix: ``0704.`` or ``astro-ph/9901``.
        digits: of the number after it.
    """

    prefix: str
    digits: int


def month_of(identifier: str) -> tuple[ArxivMonth, int] | None:
    """Returns an arXiv number's month and its place in it, or None for what is none."""
    found = _NUMBER.match(identifier)
    if found is None:
        return None
    return ArxivMonth(found["month"], len(found["number"])), int(found["number"])


def title_key(title: str) -> str:
    """Returns a title's words only: case, punctuation and spacing make no other title."""
    return " ".join(_words(title)) or title


def cite_key(facts: dict[str, str]) -> str | None:
    """Returns ``smith et al. 2015`` or None where it cannot be said."""
    if "cite" not in facts or "cite_year" not in facts:
        return None
    return f"{facts['cite'].casefold()} {facts['cite_year']}"


class CorpusIndex:
    """Counts of names in a corpus.

    Args:
        papers: all documents of the corpus.
    """

    def __init__(self, papers: Iterable[Paper]) -> None:
        titles, ids, cites = array("Q"), array("Q"), array("Q")
        pairs, owners, sizes = array("Q"), array("I"), array("H")
        self._last: dict[ArxivMonth, int] = {}
        for paper in papers:
            facts = paper.facts
            if "title" in facts:
                found = _pairs(facts["title"])
                titles.append(_hash(title_key(facts["title"])))
                pairs.extend(found)
                owners.extend([len(sizes)] * len(found))
                sizes.append(min(len(found), 65535))
            if (key := cite_key(facts)) is not None:
                cites.append(_hash(key))
            if "id" in facts:
                ids.append(_hash(facts["id"]))
                if (place := month_of(facts["id"])) is not None:
                    self._last[place[0]] = max(place[1], self._last.get(place[0], 0))
        self._titles, self._ids, self._cites = _sorted(titles), _sorted(ids), _sorted(cites)
        order = np.argsort(_numbers(pairs), kind="stable")
        self._pairs = _numbers(pairs)[order]
        self._owners = np.frombuffer(owners, dtype=np.uint32)[order] if owners else order
        self._sizes = np.frombuffer(sizes, dtype=np.uint16) if sizes else order

    def titled(self, title: str) -> int:
        """Returns how many documents have this title."""
        return _count(self._titles, _hash(title_key(title)))

    def cited(self, facts: dict[str, str]) -> int:
        """Returns how many papers go by the same authors and year."""
        key = cite_key(facts)
        return 0 if key is None else _count(self._cites, _hash(key))

    def numbered(self, identifier: str) -> int:
        """Returns how many papers have this arXiv number."""
        return _count(self._ids, _hash(identifier))

    def last_number(self, month: ArxivMonth) -> int:
        """Returns the largest number that the corpus has of a month; 0 where it has none."""
        return self._last.get(month, 0)

    def has_title_like(self, title: str) -> bool:
        """Tells whether some document's title is this one, or alike (see :data:`ALIKE`)."""
        if self.titled(title):
            return True
        found = _pairs(title)
        starts = np.searchsorted(self._pairs, np.array(found, dtype=np.uint64), "left")
        ends = np.searchsorted(self._pairs, np.array(found, dtype=np.uint64), "right")
        owners = [self._owners[a:b] for a, b in zip(starts, ends, strict=True) if b > a]
        if not owners:
            return False
        who, shared = np.unique(np.concatenate(owners), return_counts=True)
        shorter = np.minimum(self._sizes[who], len(found))
        return bool((shared >= ALIKE * shorter).any())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _pairs(title: str) -> list[int]:
    """Returns hashes of a title's pairs of neighbouring words, each once."""
    words = _words(title)
    pairs = {f"{a} {b}" for a, b in pairwise(words)} or {title_key(title)}
    return sorted(_hash(pair) for pair in pairs)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _numbers(values: array[int]) -> Hashes:
    return np.frombuffer(values, dtype=np.uint64) if values else np.zeros(0, dtype=np.uint64)


def _sorted(values: array[int]) -> Hashes:
    return np.sort(_numbers(values))


def _count(values: Hashes, value: int) -> int:
    key = np.uint64(value)
    return int(np.searchsorted(values, key, "right") - np.searchsorted(values, key, "left"))
