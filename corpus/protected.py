"""Where a Markdown text holds code, TeX or a table: what cleaning must leave as it is.

A mark that nothing closes is plain text, so that a stray one, as OCR leaves them, does not make
code or mathematics of the rest of a document. Every search is bounded or remembered, so the time is
linear in the text whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

Kind = Literal["code", "span", "display", "inline", "environment", "table", "rule"]

MAX_INLINE_CHARS = 1_000
"""Longest inline formula or code span."""
MAX_BLOCK_CHARS = 50_000
"""Longest display formula, TeX environment or HTML table."""


class Block(NamedTuple):
    """A stretch of text, in characters."""

    start: int
    end: int
    kind: Kind


_VERBATIM = (
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*$"
    r"|(?P<ticks>`+)"
    r"|\\begin\{(?P<name>[A-Za-z]{1,30}\*?)\}"
    r"|\\(?P<bracket>[\[(])"
    r"|\\[^\n]"  # an escaped sign, and the "\\" of "\\[2pt]"
    r"|(?P<dollars>\$\$?)"
)
_TABLES = (
    r"|<(?P<tag>table|pre)\b"
    r"|^[ \t]*(?P<row>\|)"
    r"|^[ \t]*(?P<rule>[-=*_+|:%#/][-=*_+|:%#/ \t]{2,})$"
)
_OPENER = re.compile(_VERBATIM, re.MULTILINE)
_SIGN = re.compile(r"[`~$\\]")
_OPENER_OR_TABLE = re.compile(_VERBATIM + _TABLES, re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*$", re.MULTILINE)
_ROWS = re.compile(r"(?:[ \t]*\|.*(?:\n|\Z))+")
_BLANK = re.compile(r"\n[ \t]*\n")
# Pandoc's rule: no space inside the dollars, no digit after; prices are then no formulas.
_DOLLARS = re.compile(
    r"\$(?=[^\s$])(?:\\[^\n]|[^$\\\n]|\n(?![ \t]*\n))"
    rf"{{1,{MAX_INLINE_CHARS}}}(?<!\s)\$(?!\d)"
)


def verbatim(text: str) -> Iterator[Block]:
    """Yields code (fenced and in lines) and TeX, in order, none inside another."""
    return _Scanner(text).blocks(_openers(text))


def blocks(text: str) -> Iterator[Block]:
    """Yields what may repeat itself by right: code, display formulas, tables, drawn rules."""
    for block in _Scanner(text).blocks(lambda start: _OPENER_OR_TABLE.search(text, start)):
        if block.kind != "inline":
            yield block


def _openers(text: str) -> Callable[[int], re.Match[str] | None]:
    """Returns a search for ``_OPENER`` that runs at the speed of a search for its first signs."""

    def search(position: int) -> re.Match[str] | None:
        while sign := _SIGN.search(text, position):
            at = sign.start()
            if text[at] in "`~":
                # Only a fence begins before its sign, with the spaces that indent it.
                line = text.rfind("\n", max(position - 1, 0), at) + 1
                if (line or position == 0) and text[line:at].strip(" \t") == "":
                    at = line
            if found := _OPENER.match(text, at) or _OPENER.match(text, sign.start()):
                return found
            position = sign.end()
        return None

    return search


class _Scanner:
    """Goes through a text once; remembers how far it has looked for each closing mark."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._seen: dict[str, int] = {}
        self._unclosed_fences: dict[str, int] = {}

    def blocks(self, search: Callable[[int], re.Match[str] | None]) -> Iterator[Block]:
        """Yields the closed blocks, from openers as ``search`` finds them from a position on."""
        position = 0
        while opener := search(position):
            block = self._close(opener)
            position = block.end if block else opener.end()
            if block:
                yield block

    def _close(self, opener: re.Match[str]) -> Block | None:
        """Returns the block that an opener begins, or None where nothing closes it."""
        start = opener.start()
        kind = opener.lastgroup
        if kind == "fence":
            return self._fence(opener)
        if kind == "ticks":
            return self._ticks(opener)
        if kind == "name":
            return self._until(opener, f"\\end{{{opener['name']}}}", "environment")
        if kind == "bracket" and opener["bracket"] == "[":
            return self._until(opener, "\\]", "display")
        if kind == "bracket":
            return self._until(opener, "\\)", "inline")
        if opener[0] == "$$":
            return self._until(opener, "$$", "display")
        if kind == "dollars":
            found = _DOLLARS.match(self._text, start)
            return Block(start, found.end(), "inline") if found else None
        if kind == "tag":
            return self._until(opener, f"</{opener['tag']}>", "table")
        if kind == "row":
            rows = _ROWS.match(self._text, start)
            return Block(start, rows.end(), "table") if rows else None
        return Block(start, opener.end(), "rule") if kind == "rule" else None

    def _next(self, mark: str, start: int) -> int:
        """Returns where a mark (or, for an empty one, a blank line) is next, or the text's end."""
        if self._seen.get(mark, -1) < start:
            if mark:
                at = self._text.find(mark, start)
            else:
                blank = _BLANK.search(self._text, start)
                at = blank.start() if blank else -1
            self._seen[mark] = at if at >= 0 else len(self._text)
        return self._seen[mark]

    def _until(self, opener: re.Match[str], closer: str, kind: Kind) -> Block | None:
        at = self._next(closer, opener.end())
        formula = kind in ("inline", "display")
        longest = MAX_INLINE_CHARS if kind == "inline" else MAX_BLOCK_CHARS
        if at == len(self._text) or at - opener.end() > longest:
            return None
        # TeX itself allows no blank line in a formula.
        if formula and self._next("", opener.end()) < at:
            return None
        return Block(opener.start(), at + len(closer), kind)

    def _ticks(self, opener: re.Match[str]) -> Block | None:
        ticks = opener["ticks"]
        limit = min(self._next("", opener.end()), opener.end() + MAX_INLINE_CHARS)
        at = self._text.find(ticks, opener.end(), limit)
        while at >= 0:
            end = at + len(ticks)
            while self._text[end : end + 1] == "`":
                end += 1
            if end == at + len(ticks):
                return Block(opener.start(), end, "span")
            at = self._text.find(ticks, end, limit)
        return None

    def _fence(self, opener: re.Match[str]) -> Block | None:
        fence = opener["fence"]
        length = len(fence)
        if length >= self._unclosed_fences.get(fence[0], length + 1):
            return None
        for mark in _FENCE.finditer(self._text, opener.end()):
            if mark[1][0] == fence[0] and len(mark[1]) >= length:
                return Block(opener.start(), mark.end(), "code")
        self._unclosed_fences[fence[0]] = length
        return None
