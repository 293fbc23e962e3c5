"""Which loops are cut, and where exactly the text is cut.

What repeats by right stays: tables, matrices, code and drawn rules go round by whole lines; a loop
inside one is only taken for one if it runs on within a single line, far beyond what anyone writes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from core.recipe.repetition import Repetition
from corpus.protected import Block, Kind, blocks
from corpus.repetition.loops import NGRAM, Loop, counts_up, find_repeats, may_loop
from corpus.repetition.tokens import DIGIT, GLYPH, LETTER, Tokens, tokenize

SHORT_UNIT_TOKENS = 8
"""Shorter phrases may come a few times over: "ha ha ha", a refrain."""
MIN_SIGNS = 80
"""Longest run of signs on a line that is left: dot leaders, blanks to fill in."""
MIN_NUMBERS = 60
"""Longest run of one pattern of numbers on a line that is left: rows of data."""
MIN_DIGITS = 0.2
"""Share of numbers among the tokens of such a run."""
MIN_WORDLESS_LAPS = 12
"""Copies in a row of a phrase without words."""
MAX_DRAWN = 0.25
"""Share of drawn rules in a loop: above, it is a table without bars."""
MIN_BLOCK_CHARS = 1_000
MIN_BLOCK_LAPS = 20
"""A loop inside a table, formula or code block is this long, this often, and on one line."""
LONG_LINE_CHARS = 150
"""Lines of code are shorter on average, even where one is not."""
MIN_SPACES = 12
"""Copies in a row of a TeX command for space, or of a brace: also inside formulas."""
MIN_EMPTY_ROWS = 8
"""Copies in a row of a table's row that holds nothing."""
MIN_WORDS = 0.1
"""Share of words among the tokens of a phrase; below, it is numbers or signs."""
MIN_COUNTED_WORDS = 0.2
"""Share of words in a loop that differs by numbers: below, it is data."""
MIN_COUNTED_TOKENS = 6
"""Shortest phrase with a counter: "Chapter 1, Chapter 2" is a list."""
WHOLE: frozenset[Kind] = frozenset({"display", "environment", "table"})
"""Blocks that are cut as a whole or not at all, where a loop goes beyond them."""
MAX_TRIES = 100
"""Places looked at for the one to cut from."""

_BLANKS = re.compile(r"(?:\\(?:q?quad|[,;:!>]|hskip|hfill)(?![A-Za-z])|[{}~\s])+")
_MARK = re.compile(
    r"^[ \t]*(?P<fence>```|~~~)|\\begin\{|\\end\{|\\[\[\]()]|\\[^\n]|\$", re.MULTILINE
)


class Cut(NamedTuple):
    """A stretch of text to cut, in characters."""

    start: int
    end: int
    period_tokens: int
    laps: float

    @property
    def detail(self) -> str:
        """Returns the particulars for the reject."""
        return (
            f"characters {self.start}-{self.end}: "
            f"{self.period_tokens} tokens about {self.laps:.0f} times more"
        )


def find_cuts(text: str, settings: Repetition) -> list[Cut]:
    """Returns what to cut from a text, in order, none overlapping another."""
    tokens = tokenize(text)
    if not may_loop(tokens.masked(), settings.min_laps):
        return []
    exact = find_repeats(tokens.hash)
    likely = [loop for loop in exact.loops if loop.laps >= settings.min_laps]
    counted: list[Loop] = []
    if settings.counters:
        masked = find_repeats(tokens.masked())
        counted = [
            loop
            for loop in masked.loops
            if loop.laps >= 4 * settings.min_laps
            and loop.period >= MIN_COUNTED_TOKENS
            and _words(tokens, loop) >= MIN_COUNTED_WORDS
            and _covered(loop, likely) < 0.5
            and counts_up(loop, masked.distance, tokens, text)
        ]
    if not likely and not counted:
        return []
    judge = _Judge(text, tokens, settings)
    chosen = [loop for loop in likely if judge.is_runaway(loop)]
    chosen += [loop for loop in counted if not judge.touches_block(loop) and judge.is_runaway(loop)]
    return list(_apart(judge.cut(loop) for loop in _united(chosen)))


def _words(tokens: Tokens, loop: Loop) -> float:
    """Returns the share of words among a loop's tokens; single letters are none."""
    kind = tokens.kind[loop.start : loop.end]
    length = tokens.end[loop.start : loop.end] - tokens.start[loop.start : loop.end]
    return float(((kind == GLYPH) | ((kind == LETTER) & (length > 1))).mean())


def _covered(loop: Loop, others: list[Loop]) -> float:
    """Returns the share of a loop that others cover."""
    held = sum(max(0, min(loop.end, o.end) - max(loop.start, o.start)) for o in others)
    return held / (loop.end - loop.start)


def _united(loops: list[Loop]) -> Iterator[Loop]:
    """Yields the loops in order, overlapping ones as one."""
    last: Loop | None = None
    for loop in sorted(loops):
        if last and loop.start < last.end:
            end, laps = max(last.end, loop.end), max(last.laps, loop.laps)
            last = last._replace(end=end, laps=laps)
            continue
        if last:
            yield last
        last = loop
    if last:
        yield last


def _apart(cuts: Iterator[Cut]) -> Iterator[Cut]:
    end = 0
    for cut in cuts:
        if cut.end > max(cut.start, end):
            yield cut._replace(start=max(cut.start, end))
            end = cut.end


class _Judge:
    """Decides on loops of one text."""

    def __init__(self, text: str, tokens: Tokens, settings: Repetition) -> None:
        self._text, self._tokens, self._settings = text, tokens, settings
        self._blocks = list(blocks(text))
        self._starts = [block.start for block in self._blocks]

    def _block(self, start: int, end: int) -> Block | None:
        """Returns the block that holds most of the characters."""
        at = bisect_right(self._starts, (start + end) // 2) - 1
        if at < 0:
            return None
        block = self._blocks[at]
        held = min(block.end, end) - max(block.start, start)
        return block if held > (end - start) / 2 else None

    def touches_block(self, loop: Loop) -> bool:
        """Tells whether a loop reaches into a block: numbered equations are no counters."""
        start, end = int(self._tokens.start[loop.start]), int(self._tokens.end[loop.end - 1])
        first = max(bisect_right(self._starts, start) - 1, 0)
        return any(
            block.end > start and block.kind != "span"
            for block in self._blocks[first : bisect_left(self._starts, end)]
        )

    def _share(self, start: int, end: int, kind: Kind) -> float:
        """Returns the share of the characters that blocks of a kind hold."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        held = sum(
            min(block.end, end) - max(block.start, start)
            for block in self._blocks[first : bisect_left(self._starts, end)]
            if block.kind == kind and block.end > start
        )
        return held / (end - start)

    def is_runaway(self, loop: Loop) -> bool:
        """Tells whether a loop is a machine's and not meant."""
        start, end = int(self._tokens.start[loop.start]), int(self._tokens.end[loop.end - 1])
        inside = self._text[start:end]
        size = loop.end - loop.start
        if loop.laps >= MIN_SPACES:
            spaces = _BLANKS.search(inside)
            if spaces and spaces.end() - spaces.start() >= 0.8 * len(inside):
                return True
        block = self._block(start, end)
        if not block and self._share(start, end, "span") > 0.5:
            block = Block(start, end, "span")
        if self._share(start, end, "rule") > MAX_DRAWN:
            return False
        words = _words(self._tokens, loop) >= MIN_WORDS
        if block:
            return self._is_runaway_in(block, inside, loop, words)
        if words:
            return self._is_long(loop)
        numbers = (self._tokens.kind[loop.start : loop.end] == DIGIT).mean() >= MIN_DIGITS
        longest = (MIN_NUMBERS if numbers else MIN_SIGNS) * (inside.count("\n") + 1)
        return size >= longest and loop.laps >= MIN_WORDLESS_LAPS

    def _is_long(self, loop: Loop) -> bool:
        short = loop.period < SHORT_UNIT_TOKENS
        laps = self._settings.min_laps * (2 if short else 1)
        return loop.end - loop.start >= self._settings.min_tokens and loop.laps >= laps

    def _is_runaway_in(self, block: Block, inside: str, loop: Loop, words: bool) -> bool:
        lines = sum(not line.isspace() for line in inside.splitlines() if line)
        if block.kind == "table" and not any(char.isalnum() for char in inside):
            return lines > MIN_EMPTY_ROWS
        if not words:
            return False
        # OCR loses one fence of a pair, and prose seems code; its lines are longer than code's.
        if block.kind == "code" and len(inside) >= LONG_LINE_CHARS * lines:
            return self._is_long(loop)
        return len(inside) >= MIN_BLOCK_CHARS * lines and loop.laps >= MIN_BLOCK_LAPS

    def cut(self, loop: Loop) -> Cut:
        """Returns the characters to cut for a loop: whole, and with every mark it opens closed."""
        text, tokens = self._text, self._tokens
        first, last = self._best_start(loop), self._best_end(loop)
        start, end = int(tokens.start[first]), int(tokens.end[last - 1])
        whole_start, whole_end = self._whole(start, end)
        if (whole_start, whole_end) != (start, end):
            return Cut(whole_start, whole_end, loop.period, loop.laps)
        before = int(tokens.end[first - 1])
        after = int(tokens.start[last]) if last < len(tokens.start) else len(text)
        # Of the two gaps that meet, the one with more line ends stays.
        if text.count("\n", before, start) >= text.count("\n", end, after) and after < len(text):
            return Cut(start, after, loop.period, loop.laps)
        return Cut(before, end, loop.period, loop.laps)

    def _whole(self, start: int, end: int) -> tuple[int, int]:
        """Returns the characters without the formulas and tables that they hold a part of."""
        at = bisect_right(self._starts, start) - 1
        last = bisect_left(self._starts, end) - 1
        if last <= at:
            return start, end
        if at >= 0 and self._blocks[at].kind in WHOLE:
            start = max(start, self._blocks[at].end)
        if self._blocks[last].kind in WHOLE and end < self._blocks[last].end:
            end = self._blocks[last].start
        return start, end

    def _best_start(self, loop: Loop) -> int:
        """Returns the token to cut from: within the first lap, where a sentence or line begins."""
        tokens = self._tokens
        last = min(loop.start + loop.period + 1, loop.end)
        begins = tokens.start[loop.start : last].tolist()
        ends = tokens.end[loop.start - 1 : last - 1].tolist()
        marks = self._marks(begins[0], int(tokens.end[loop.end - 1]))
        best, best_rank = loop.start, -1
        for offset, (begin, end) in enumerate(zip(begins, ends, strict=False)):
            rank = self._joint(end, begin)
            if _balanced([mark for at, mark in marks if at >= begin]):
                rank += 4
            if rank > best_rank:
                best, best_rank = loop.start + offset, rank
            if rank == 7 or offset >= MAX_TRIES:
                break
        return best

    def _best_end(self, loop: Loop) -> int:
        """Returns the token to cut to: a few may start the next sentence as they start the loop."""
        tokens = self._tokens
        if loop.end == len(tokens.start):
            return loop.end
        places = range(loop.end, max(loop.end - NGRAM, loop.start + 1), -1)
        ranks = [self._joint(int(tokens.end[n - 1]), int(tokens.start[n])) for n in places]
        best = max(ranks)
        return places[ranks.index(best)] if best >= 2 or ranks[0] < 0 else loop.end

    def _joint(self, end: int, begin: int) -> int:
        """Returns how good a place to cut is between two tokens."""
        gap = self._text[end:begin]
        if "\n" in gap:
            return 3 if "\n\n" in gap else 2
        if not gap and self._text[end - 1] == "\\":
            return -4
        return 0 if not gap else 2 if self._text[end - 1] in ".!?" else 1

    def _marks(self, start: int, end: int) -> list[tuple[int, str]]:
        found = _MARK.finditer(self._text, start, end)
        return [(m.start(), "fence" if m["fence"] else m[0]) for m in found]


def _balanced(marks: list[str]) -> bool:
    """Tells whether cutting a stretch with these marks leaves the others in pairs."""
    return (
        marks.count("fence") % 2 == 0
        and marks.count("$") % 2 == 0
        and marks.count("\\(") == marks.count("\\)")
        and marks.count("\\[") == marks.count("\\]")
        and marks.count("\\begin{") == marks.count("\\end{")
    )
