"""Find what benchmarks ask inside other texts: documents, or questions made from them.

::

    items --> letters --> hashes of 12 to 24 letters from each word on      (ContaminationIndex)
                                          |
    text  --> letters --> hashes from every letter on  --> places in common --> spread over letters
                                                                            and gaps --> matches

A text is compared as its bare letters (:mod:`core.passages`): case, punctuation, accents, TeX or
Unicode, line breaks, hyphens, spaces and citation marks neither hide nor make an overlap. Every
place in common is verified on the letters themselves. What inserted lines (a page's foot and the
next one's head) break apart is joined again over gaps of bounded length.

A passage is an overlap when it holds

* ``ngram_words`` words of a question or choice in a row (13 as in GPT-3, Brown et al. 2020), or
* all of a question of at least ``min_words`` words, gaps allowed, or that many of a longer one, or
* all of a shorter question, where its question mark (or a stem's dots) follows, or half of its
  choices are there, or nothing else stands on its line, in its table cell or between its quotes.

What is not found: a short question within a sentence without its mark (``he knew why the sky is
blue``, ``planetary rings are``), which nothing tells from a sentence of its own, and one of under
six words with something in its middle, which leaves no 12 letters in a row to look for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.benchmark_text import BenchmarkItem
from core.letters import Codes, Letters, Places, code_points
from core.overlap import Finder, Parts, Rules, Run, parts_of
from core.passages import passage_letters

Hashes = npt.NDArray[np.uint64]

_WIDE = 24
_NARROW = {12: 48, 16: 80, _WIDE: 1 << 62}
"""Letters hashed together, and below how many letters a question is looked for by so few of them:
by the first and the last, which are not both broken where a page ends inside it. Longer ones are
looked for from every word on. Elsewhere narrow windows would meet too much by chance.
"""

_HALVES = {2: (1, 1), 4: (2, 2), 8: (4, 4), 12: (8, 4), 16: (8, 8), 24: (16, 8)}
_FACTOR = 0x9E6C63D0876A9A47
_SPREAD = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Match:
    """A passage that overlaps with an item.

    Args:
        benchmark, item_id: the item.
        start_char, end_char: where it stands in the text.
        words: of the item that are there.
        part: ``question``, ``choices`` or ``question and choices``.
        text: the passage.
    """

    benchmark: str
    item_id: str
    start_char: int
    end_char: int
    words: int
    part: str
    text: str


class ContaminationIndex:
    """Benchmark items, ready to be looked for."""

    def __init__(self, items: Sequence[BenchmarkItem], rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._items = [parts_of(item, self._rules.choices) for item in items]
        self._whole = {p.text[: p.question]: p for p in reversed(self._items) if p.question}
        windows: dict[int, list[tuple[int, str, Places]]] = {width: [] for width in _NARROW}
        for number, parts in enumerate(self._items):
            for width, places in _windows(parts, self._rules):
                windows[width].append((number, parts.text, places))
        self._tables = [_SeedTable(width, items) for width, items in windows.items() if items]

    def find(self, text: str) -> list[Match]:
        """Returns the overlaps of a text with the items, in order of their places."""
        said = passage_letters(text)
        seeds = self._seeds(said)
        if not seeds:
            return []
        finder = Finder(text, said, self._rules)
        matches: list[Match] = []
        done: dict[int, int] = {}
        for at, number, offset in seeds:
            if at < done.get(number, -1):
                continue
            parts = self._items[number]
            runs = finder.runs(parts, at, offset)
            # Of one exact run all further seeds would say the same; after a gap they may not.
            # The seed itself may have been trimmed away as one by chance.
            exact = next((r for r in runs if r.at <= at < r.at + r.end - r.start), None)
            done[number] = exact.at + exact.end - exact.start if exact else at + 1
            verdict = finder.judge(parts, runs) if runs else None
            if verdict is not None:
                done[number] = runs[-1].at + runs[-1].end - runs[-1].start
                matches.append(_match(text, said, parts.item, runs, *verdict))
        return sorted(matches, key=lambda m: (m.start_char, m.benchmark, m.item_id))

    def find_pair(self, question: str, answer: str) -> list[Match]:
        r"""Returns the overlaps of a question and its answer; a question equal to an item's always.

        Offsets count in ``question + "\n\n" + answer``.
        """
        matches = self.find(f"{question}\n\n{answer}")
        parts = self._whole.get(passage_letters(question).text())
        known = {(m.benchmark, m.item_id) for m in matches}
        if parts is not None and (parts.item.benchmark, parts.item.item_id) not in known:
            words = parts.asked
            item = parts.item
            found = Match(
                item.benchmark, item.item_id, 0, len(question), words, "question", question
            )
            matches.insert(0, found)
        return matches

    def _seeds(self, said: Letters) -> list[tuple[int, int, int]]:
        """Returns (place in the text, item, place in the item) of all windows in common."""
        hashes = _window_hashes(said.codes)
        return sorted(seed for table in self._tables for seed in table.find(hashes[table.width]))


def _windows(parts: Parts, rules: Rules) -> Iterator[tuple[int, Places]]:
    """Yields the widths of windows and where in the item's letters they start."""
    tiny = parts.asked < rules.min_words
    starts = np.array(parts.words, dtype=np.int64)
    begin = 0
    for end in parts.ends:
        words = starts[bisect_left(parts.words, begin) : bisect_left(parts.words, end)]
        width = next(width for width, most in _NARROW.items() if end - begin < most)
        wanted = end == parts.question or tiny
        if wanted and width < _WIDE and end - begin >= width:
            yield width, np.array([begin, end - width], dtype=np.int64)
        if (wanted and width == _WIDE) or len(words) >= rules.ngram_words:
            # Fewer words of a choice are no overlap.
            yield _WIDE, words
        begin = end


class _SeedTable:
    """Windows of one width that start at words of items, by their hash."""

    def __init__(self, width: int, items: Sequence[tuple[int, str, Places]]) -> None:
        """Args: the width, and for each item its number, its letters and where windows start."""
        self.width = width
        hashes, owners, offsets = [np.zeros(0, np.uint64)], [], []
        for number, text, starts in items:
            windows = _window_hashes(code_points(text))[width]
            starts = starts[starts < len(windows)]
            hashes.append(windows[starts])
            owners += [number] * len(starts)
            offsets += starts.tolist()
        joined = np.concatenate(hashes)
        order = np.argsort(joined, kind="stable")
        self._hashes = joined[order]
        self._owners = np.array(owners, dtype=np.int64)[order]
        self._offsets = np.array(offsets, dtype=np.int64)[order]
        # Few enough flags for a processor's cache, enough that hardly any is set.
        self._shift = np.uint64(64 - min(24, max(12, (64 * len(joined)).bit_length())))
        self._flags = np.zeros(2 ** (64 - int(self._shift)), dtype=np.bool_)
        self._flags[self._slots(self._hashes)] = True

    def _slots(self, hashes: Hashes) -> Hashes:
        return np.asarray((hashes * _SPREAD) >> self._shift)

    def find(self, windows: Hashes) -> list[tuple[int, int, int]]:
        """Returns (place in the text, item, place in the item) of windows in common."""
        places = np.flatnonzero(self._flags[self._slots(windows)])
        low = np.searchsorted(self._hashes, windows[places], side="left")
        high = np.searchsorted(self._hashes, windows[places], side="right")
        found = low < high
        spans = zip(places[found].tolist(), low[found].tolist(), high[found].tolist(), strict=True)
        return [
            (place, int(self._owners[at]), int(self._offsets[at]))
            for place, start, end in spans
            for at in range(start, end)
        ]


def _match(
    text: str, said: Letters, item: BenchmarkItem, runs: list[Run], words: int, part: str
) -> Match:
    last = runs[-1]
    start = int(said.places[runs[0].at])
    end = int(said.places[last.at + last.end - last.start - 1]) + 1
    return Match(item.benchmark, item.item_id, start, end, words, part, text[start:end])


def _window_hashes(codes: Codes) -> dict[int, Hashes]:
    """Returns, by width, a hash of the letters from each place on where so many are left."""
    hashes = {1: codes.astype(np.uint64) * _SPREAD}
    for width, (left, right) in _HALVES.items():
        # The polynomial of all letters from those of both parts.
        count = max(0, len(codes) - width + 1)
        factor = np.uint64(pow(_FACTOR, right, 2**64))
        hashes[width] = hashes[left][:count] * factor
        hashes[width] += hashes[right][left : left + count]
    return hashes
