"""Papers outside the corpus, for answers that say "I do not know".

Two kinds, so that a model learns neither from form nor from field alone:

* **made up**: the first half of one title of the corpus and the second half of another, with an
  arXiv number that no paper of the corpus has, of a month and about as high as those of papers that
  are there, and another paper's authors. All parts look like the corpus's own, so nothing but
  knowing the papers tells them apart; an impossible number or a title of nonsense would teach
  nothing. Such a number is most likely a paper of another field: "I do not know" is true of it,
  "there is none" would not be.
* **real**: papers of other fields or years from the user's own files of arXiv metadata, such as the
  snapshot's records that the recipe's categories leave out.

Neither has a title like one of the corpus (:meth:`CorpusIndex.has_title_like`) nor its number.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.hashing import sha256_text
from synth.metadata.index import CorpusIndex, month_of
from synth.metadata.paper import Paper, paper_of
from synth.metadata.wording import Chance

TRIES = 20
"""Attempts at a title before a paper goes by its number alone."""

MAX_REAL = 20_000
"""Real papers kept in memory."""

MAX_PARTS = 5_000
"""Papers of the corpus whose titles are taken apart: 25 million pairs of halves at most."""

_JOINT = re.compile(r" (of|in|with|for|from|by|at|around|through) ")
_VERSION = re.compile(r"v\d+\Z")
# What follows a preposition must start a noun phrase of its own.
_NO_TAIL = re.compile(r"(?:and|or|to|the same|its|their|which|is|are|using)\b")
_HEAD_WORDS, _TAIL_WORDS = range(2, 8), range(1, 8)
_TITLE_WORDS = range(5, 15)


@dataclass(frozen=True)
class Halves:
    """A title cut at its first preposition.

    Args:
        head: ``Rings of``.
        tail: ``young stars``.
        joint: preposition and manner of capitals; halves that share it fit each other.
    """

    head: str
    tail: str
    joint: tuple[str, bool]


def halves(title: str) -> Halves | None:
    """Cuts a title in two; None where it is no good.

    Titles with formulas, colons, numbers of a series or quotations do not join well.
    """
    if re.search(r"[:;?!$“”()\[\]\\,]|\b[IVX]+\b\.?|\b\d", title):
        return None
    found = _JOINT.search(title)
    if found is None:
        return None
    head, tail = title[: found.end()].strip(), title[found.end() :].strip()
    if len(head.split()) not in _HEAD_WORDS or len(tail.split()) not in _TAIL_WORDS:
        return None
    if head.endswith("number of") or _NO_TAIL.match(tail):
        return None
    later = [word for word in title.split()[1:] if len(word) > 4]
    capitals = 2 * sum(word[0].isupper() for word in later) > len(later)
    return Halves(head, tail, (found[1], capitals))


class Pool:
    """Some papers of the corpus, the same whatever the order of shards: those with low hashes.

    Args:
        seed: the recipe's.
        size: papers kept at most.
    """

    def __init__(self, seed: int, size: int) -> None:
        self._seed = seed
        self._size = size
        self._kept: list[tuple[int, str, Paper]] = []
        self._ids: set[str] = set()

    def takes(self, doc_id: str) -> bool:
        """Tells whether a paper is not there yet and its hash is low enough."""
        if doc_id in self._ids:
            return False
        return len(self._kept) < self._size or self._rank(doc_id) > self._kept[0][0]

    def add(self, paper: Paper) -> None:
        """Takes a paper, if it does (:meth:`takes`)."""
        if not self.takes(paper.doc_id):
            return
        self._ids.add(paper.doc_id)
        heapq.heappush(self._kept, (self._rank(paper.doc_id), paper.doc_id, paper))
        if len(self._kept) > self._size:
            self._ids.discard(heapq.heappop(self._kept)[1])

    def _rank(self, doc_id: str) -> int:
        # Below zero, so that the largest hash leaves the heap first.
        return -int(sha256_text(f"{self._seed}|{doc_id}")[:15], 16)

    def papers(self) -> list[Paper]:
        """Returns the papers, lowest hash first."""
        return [paper for _, _, paper in sorted(self._kept, reverse=True)]


class MadeUp:
    """Makes papers that the corpus does not hold from parts of those that it holds.

    Args:
        papers: of the corpus, whose titles and authors are used.
        index: of the whole corpus.
    """

    def __init__(self, papers: Sequence[Paper], index: CorpusIndex) -> None:
        self._papers = papers
        self._index = index
        cut = [halves(p.facts["title"]) for p in papers if "title" in p.facts]
        self._halves = [both for both in cut if both is not None]
        self._tails: dict[tuple[str, bool], list[str]] = {}
        for both in self._halves:
            self._tails.setdefault(both.joint, []).append(both.tail)

    def like(self, paper: Paper, chance: Chance) -> Paper | None:
        """Returns a paper of the same month that is not in the corpus.

        Returns:
            Its title and its number are facts where they could be made; None where neither could.
        """
        facts: dict[str, str] = {}
        if (title := self._title(chance)) is not None:
            facts["title"] = title
        if (number := self._number(paper.facts.get("id", ""), chance)) is not None:
            facts["id"] = number
        if not facts:
            return None
        facts |= {k: paper.facts[k] for k in ("year", "month", "cite_year") if k in paper.facts}
        if self._papers:
            other = chance.one(self._papers).facts
            facts |= {k: other[k] for k in ("cite", "by") if k in other}
        return Paper("", "paper", facts)

    def _title(self, chance: Chance) -> str | None:
        for _ in range(TRIES if self._halves else 0):
            both = chance.one(self._halves)
            title = f"{both.head} {chance.one(self._tails[both.joint])}"
            words = title.casefold().split()
            long_words = [word for word in words if len(word) > 4]
            if len(words) not in _TITLE_WORDS or len(set(long_words)) < len(long_words):
                continue
            if not self._index.has_title_like(title):
                return title
        return None

    def _number(self, identifier: str, chance: Chance) -> str | None:
        place = month_of(identifier)
        if place is None:
            return None
        month = place[0]
        # A little beyond the last: a small corpus may hold all numbers up to there.
        last = self._index.last_number(month)
        highest = min(last + max(20, last // 20), 10**month.digits - 1)
        for _ in range(TRIES):
            number = 1 + chance.below(highest)
            made = f"{month.prefix}{number:0{month.digits}d}"
            if not self._index.numbered(made):
                return made
        return None


def read_real(files: Iterable[tuple[str, Path]], seed: int) -> list[Paper]:
    """Reads papers from files of arXiv metadata, one JSON object a line.

    At most :data:`MAX_REAL` are kept, the same whatever the order of files and lines. Lines that
    are no record are passed over; a file that holds none is an error.

    Raises:
        InputError: a file cannot be read or holds no record.
    """
    pool = Pool(seed, MAX_REAL)
    for name, path in files:
        records = 0
        try:
            with path.open("rb") as lines:
                for line in lines:
                    record = _record(line)
                    if record is None:
                        continue
                    records += 1
                    # A snapshot has millions of lines: only those that stay are read further.
                    if pool.takes(f"arxiv:{record['id']}"):
                        pool.add(_real(record))
        except OSError as error:
            raise _unusable(name, str(error)) from error
        if not records:
            raise _unusable(name, "it holds no arXiv record")
    return pool.papers()


def _record(line: bytes) -> dict[str, Any] | None:
    """Returns an arXiv record with its number without version, or None for what is none."""
    try:
        record = json.loads(line)
        identifier = _VERSION.sub("", record["id"])
        usable = month_of(identifier) is not None and isinstance(record["title"], str)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return {**record, "id": identifier} if usable else None


def _real(record: dict[str, Any]) -> Paper:
    meta = {"authors": record.get("authors"), "journal_ref": record.get("journal-ref")}
    return paper_of(f"arxiv:{record['id']}", record["title"], _created(record), meta)


def _created(record: dict[str, Any]) -> date | None:
    try:
        return parsedate_to_datetime(record["versions"][0]["created"]).date()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def _unusable(name: str, fault: str) -> InputError:
    return InputError(
        f"cannot use this file of papers outside the corpus: {fault}",
        where=name,
        remedy="give arXiv's metadata, one JSON object with id, title, authors and versions a line",
    )


def outside(real: Sequence[Paper], index: CorpusIndex) -> list[Paper]:
    """Returns the papers that the corpus does not hold, by number and title."""
    return [
        paper
        for paper in real
        if not index.numbered(paper.facts["id"])
        and not ("title" in paper.facts and index.has_title_like(paper.facts["title"]))
    ]
