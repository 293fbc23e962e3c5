"""One item and one text, letter by letter: how much of the item the text holds around a place.

From a place in common the letters are followed both ways. Where they part, the item may go on after
some letters of the text that are not its own: a page's foot, a footnote, ``(B)``.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from core.benchmark_text import BenchmarkItem
from core.letters import Letters
from core.passages import passage_letters

_PROBE = 12
"""Letters that must agree after a gap, unless fewer are left."""

_MAX_GAPS = 8

_AFTER_CHARS = 400
"""How far a question's mark is looked for: citations and notes may stand before it."""

_LABEL_CHARS = 40
_LABEL = re.compile(
    r"[\W_]*(?:(?:Q|question|item|problem|exercise)[\W_]*)?(?:\d{1,4}|[a-z]|[ivx]{1,5})?[\W_]*",
    re.IGNORECASE,
)
"""What may stand before a question on its line: ``**Question 3:**``, ``- (b)``."""

_EDGES = '\n|"“”„«»'
"""What ends a line, a table's cell or a quotation."""

_OPEN_ENDED = re.compile(
    r"(?:[?？_…:]|\.\.|\b(?:is|are|was|were|has|have|of|from|by|to|in|on|at|as|for|with|than|that"
    r"|because|the|an?))[\s\"')\]]*\Z",
    re.IGNORECASE,
)
"""How a question or a stem ends, and a heading (``Sidereal Time``) does not."""

_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_MARK_DIGITS = 4
_RAISED = frozenset("¹²³⁰⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Rules:
    """What counts as an overlap; see :class:`core.recipe.decontaminate.Decontaminate`."""

    ngram_words: int = 13
    min_words: int = 6
    choices: bool = True
    max_gap_chars: int = 200


@dataclass(frozen=True)
class Parts:
    """An item's letters, question first, and where its words and parts begin."""

    item: BenchmarkItem
    text: str
    words: list[int]
    ends: list[int]
    """Where the question and each choice end; no part is empty."""
    question: int
    """Letters of the question; choices come after."""
    asked: int
    """Words of the question."""


@dataclass(frozen=True)
class Run:
    """Letters of an item that a text holds in a row: item[start:end] at text[at:]."""

    start: int
    end: int
    at: int


def parts_of(item: BenchmarkItem, choices: bool) -> Parts:
    """Returns an item's letters, with or without its choices."""
    said = [passage_letters(item.question)]
    others = [passage_letters(text) for text in item.others] if choices else []
    said += [part for part in others if len(part.codes)]
    ends = np.cumsum([len(part.codes) for part in said])
    begins = ends - [len(part.codes) for part in said]
    words = [np.flatnonzero(part.starts) + begin for part, begin in zip(said, begins, strict=True)]
    text = "".join(part.text() for part in said)
    starts = np.concatenate(words).tolist()
    question = len(said[0].codes)
    ends = ends[ends > 0].tolist()
    return Parts(item, text, starts, ends, question, bisect_left(starts, question))


class Finder:
    """Looks at one text letter by letter, where a seed says that something is in common."""

    def __init__(self, source: str, said: Letters, rules: Rules) -> None:
        self._source = source
        self._text = said.text()
        self._places = said.places
        self._starts = said.starts
        self._rules = rules

    def runs(self, parts: Parts, at: int, offset: int) -> list[Run]:
        """Returns the item's runs around a seed, in order: one, or several with gaps between."""
        text, item = self._text, parts.text
        after = _common(text, at, item, offset)
        before = _common_back(text, at, item, offset)
        runs = [Run(offset - before, offset + after, at - before)]
        while len(runs) <= _MAX_GAPS and runs[-1].end < len(item):
            last = runs[-1]
            stop = parts.ends[bisect_right(parts.ends, last.end)]
            probe = item[last.end : min(stop, last.end + _PROBE)]
            end = last.at + last.end - last.start
            found = text.find(probe, end, end + self._gap(parts, last.end, probe) + len(probe))
            if found < 0:
                break
            length = _common(text, found, item, last.end)
            runs.append(Run(last.end, last.end + length, found))
        count = len(runs)
        while len(runs) < count + _MAX_GAPS and runs[0].start > 0:
            first = runs[0]
            part = bisect_left(parts.ends, first.start)
            begin = parts.ends[part - 1] if part else 0
            probe = item[max(begin, first.start - _PROBE) : first.start]
            low = first.at - self._gap(parts, first.start - 1, probe) - len(probe)
            found = text.rfind(probe, max(0, low), first.at)
            if found < 0:
                break
            stop = found + len(probe)
            length = _common_back(text, stop, item, first.start)
            runs.insert(0, Run(first.start - length, first.start, stop - length))
        return self._trimmed(parts, runs)

    def _trimmed(self, parts: Parts, runs: list[Run]) -> list[Run]:
        """Leaves out a first and a last part that is there by less than half, by chance."""
        start, end = runs[0].start, runs[-1].end
        last = bisect_left(parts.ends, end)
        begin = parts.ends[last - 1] if last else 0
        if start < begin and self._by_chance(parts, begin, end, parts.ends[last] - begin):
            end = begin
        first = bisect_right(parts.ends, start)
        stop = parts.ends[first]
        begin = parts.ends[first - 1] if first else 0
        if stop < end and self._by_chance(parts, start, stop, stop - begin):
            start = stop
        return [
            Run(max(run.start, start), min(run.end, end), run.at + max(0, start - run.start))
            for run in runs
            if run.start < end and run.end > start
        ]

    def _by_chance(self, parts: Parts, start: int, end: int, letters: int) -> bool:
        words = bisect_left(parts.words, end) - bisect_left(parts.words, start)
        return 2 * (end - start) < letters and words < self._rules.ngram_words

    def _gap(self, parts: Parts, offset: int, probe: str) -> int:
        """How far off the letters ``probe`` may be. Those of a short choice are not far."""
        most = self._rules.max_gap_chars
        return (
            most if offset < parts.question or len(probe) == _PROBE else min(most, 4 * len(probe))
        )

    def judge(self, parts: Parts, runs: list[Run]) -> tuple[int, str] | None:
        """Returns (words in common, which part they are of), or None where it is no overlap."""
        rules = self._rules
        asked = parts.asked
        first = [bisect_left(parts.words, run.start) for run in runs]
        last = [_words_until(parts, run.end) for run in runs]
        longest = max(end - start for start, end in zip(first, last, strict=True))
        # A run over the end of one run and the start of the next counts a broken word once.
        covered = last[-1] - first[0]
        in_question = max(0, min(last[-1], asked) - first[0])
        both = "question and choices" if last[-1] > asked else "question"
        whole = asked > 0 and in_question == asked and self._at_words(runs, parts.question)
        if whole and (
            asked >= rules.min_words
            or self._is_asked(parts, runs)
            or self._stands_alone(parts, runs)
            or self._half_choices(parts, runs)
        ):
            return covered, both
        if longest >= rules.ngram_words or in_question >= rules.ngram_words:
            return covered, both if in_question else "choices"
        return None

    def _at_words(self, runs: list[Run], question: int) -> bool:
        """Whether the question starts and ends where words of the text do."""
        start, end = runs[0].at, _place(runs, question)
        if not self._starts[start]:
            return False
        if end == len(self._starts) or self._starts[end]:
            return True
        # The mark of a note at the last word: "composed of¹²". After a number it is a power.
        number = self._text[end - 1].isdigit() and not _YEAR.fullmatch(self._text[end - 4 : end])
        return not number and self._source[self._places[end]] in _RAISED

    def _is_asked(self, parts: Parts, runs: list[Run]) -> bool:
        """Whether an item ends with a mark that a sentence has not, and does so in the text, too.

        A question mark, or the dots or line of a stem to be completed. Citations may stand between.
        """
        asked = parts.item.question.rstrip()
        start, end = self._after(parts, runs)
        follows = self._source[start:end]
        if asked.endswith("?"):
            return "?" in follows or "？" in follows
        open_ended = asked.endswith(("..", "…", "_"))
        return open_ended and any(mark in follows for mark in ("..", "…", "__"))

    def _stands_alone(self, parts: Parts, runs: list[Run]) -> bool:
        """Whether nothing but a label stands before the question, and nothing after it.

        Within its line, its cell of a table, or a quotation.
        """
        if not _OPEN_ENDED.search(parts.item.question):
            return False
        begin = int(self._places[runs[0].at])
        low = max(0, begin - _LABEL_CHARS)
        edge = max(self._source.rfind(mark, low, begin) for mark in _EDGES)
        if edge < 0 and low > 0:
            return False
        start, end = self._after(parts, runs)
        ends = end == len(self._source) or any(m in self._source[start:end] for m in _EDGES)
        return ends and _LABEL.fullmatch(self._source, edge + 1, begin) is not None

    def _after(self, parts: Parts, runs: list[Run]) -> tuple[int, int]:
        """Returns from where to where the text says nothing after the question."""
        place = _place(runs, parts.question)
        start = int(self._places[place - 1]) + 1
        for _ in range(_MARK_DIGITS):
            if place < len(self._places) and self._source[self._places[place]] in _RAISED:
                place += 1
        end = int(self._places[place]) if place < len(self._places) else len(self._source)
        return start, min(end, start + _AFTER_CHARS)

    @staticmethod
    def _half_choices(parts: Parts, runs: list[Run]) -> bool:
        found = sum(max(0, run.end - max(run.start, parts.question)) for run in runs)
        return 0 < len(parts.text) - parts.question <= 2 * found


def _words_until(parts: Parts, end: int) -> int:
    """Returns how many of the item's words end at or before its letter ``end``."""
    if end >= len(parts.text):
        return len(parts.words)
    return bisect_right(parts.words, end) - 1


def _place(runs: list[Run], offset: int) -> int:
    """Returns the place in the text after the item's letter ``offset - 1``."""
    inside = next(run for run in runs if run.start < offset <= run.end)
    return inside.at + offset - inside.start


def _common(text: str, at: int, item: str, offset: int) -> int:
    """Returns how many letters agree from two places on."""
    most = min(len(text) - at, len(item) - offset)
    low, step = 0, 8
    while low < most and step:
        part = min(step, most - low)
        if text[at + low : at + low + part] == item[offset + low : offset + low + part]:
            low, step = low + part, step * 2
        else:
            step = part // 2
    return low


def _common_back(text: str, at: int, item: str, offset: int) -> int:
    """Returns how many letters agree before two places."""
    most = min(at, offset)
    low, step = 0, 8
    while low < most and step:
        part = min(step, most - low)
        if text[at - low - part : at - low] == item[offset - low - part : offset - low]:
            low, step = low + part, step * 2
        else:
            step = part // 2
    return low
