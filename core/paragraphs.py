r"""Split Markdown into paragraphs without cutting through equations, tables, lists or code.

A paragraph ends at a blank line, except inside a block that both its ends prove::

    ```...```   ~~~...~~~   $$...$$   \[...\]   \begin{align}...\end{align}   <table>...</table>

OCR loses and misplaces such marks, and a parser that pairs them one by one then takes all prose for
code from there on. So a pair is believed only where the blank lines around its marks fit an opening
and a closing one, and where the block is no longer than such blocks are; a mark that nothing
closes is plain text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]

MAX_CODE_CHARS = 20_000
"""A longer fenced block or LaTeX environment is more likely two marks that do not belong together;
400 lines of code fit."""

MAX_EQUATION_CHARS = 4_000
"""The same for display equations without a named environment."""

MAX_PLAIN_CHARS = 4_000
"""A longer stretch of lines without a blank one (text that keeps its paragraphs one to a line, a
list of long items) is parted at line ends."""

PART_CHARS = 2_000
"""Length that its parts come close to; a longer line, table or list item stays whole."""

_GAP = re.compile(r"\n(?:[^\S\n]*+\n)+")
_FENCE = re.compile(
    r"^[ \t]*+(?P<fence>`{3,}+|~{3,}+)(?P<info>[^`\n]*+)$",
    re.MULTILINE,
)
_LANGUAGE = re.compile(r"(?:[\w.+#-]+|\{[^}]*\})?(?: .*)?")
_HEADING = re.compile(r"\n[^\S\n]*+\n#{1,6} [^\n]*+\n[^\S\n]*+\n")
_DOLLARS = re.compile(r"(?<!\\)\$\$")
_BRACKET = re.compile(r"(?<!\\)\\[\[\]]")
_ENVIRONMENT = re.compile(
    r"\\(?P<side>begin|end)\{(?P<name>"
    # math
    r"equation|align|gather|multline|eqnarray|displaymath|math|flalign|alignat|aligned|gathered"
    r"|split|subequations|cases|[bpvBV]?matrix|smallmatrix|array|dmath|IEEEeqnarray"
    # tables
    r"|table|sidewaystable|wraptable|tabular|tabularx|tabulary|longtable|longtabu|deluxetable"
    r"|supertabular|tabbing"
    # code
    r"|verbatim|Verbatim|lstlisting|minted|alltt|algorithm|algorithmic|tikzpicture"
    r")(?P<star>\*?)\}"
)
_TAG = re.compile(r"<(?P<side>/?)(?P<name>table|pre)\b", re.IGNORECASE)
_ITEM = re.compile(r"(?P<indent>[ \t]*)(?:[-*+•]|\d{1,9}[.)])[ \t]+")
_ROW = re.compile(r"[ \t]*\|")
_INDENT = re.compile(r"[ \t]*")
_BLANK_BEFORE = re.compile(r"(?:\A|\n)[^\S\n]*+\n[^\S\n]*+\Z|\A\s*\Z")
_BLANK_AFTER = re.compile(r"[^\S\n]*+(?:\n[^\S\n]*+(?:\n|\Z)|\Z)")
_LOOK_CHARS = 200


@dataclass(frozen=True)
class _Mark:
    """One end of a block, or both: ``kind`` pairs with ``kind``."""

    start: int
    end: int
    kind: str
    size: int = 0
    """Characters of a fence: the closing one has at least as many."""
    info: bool = False
    """A fence with words after it only opens."""
    odd: bool = False
    """The words after a fence name no language."""
    partner: int | None = None
    """Where the other end ends, for kinds whose two ends differ."""


def split_paragraphs(text: str) -> list[Span]:
    """Returns (start, end) of each paragraph, in characters, without the blank lines between.

    A paragraph starts with its first line's indentation. Blocks (see the module) stay whole even
    where blank lines stand inside them, so do indented code and the indented paragraphs of a list
    item. Lines of a table are never parted.
    """
    blocks = _blocks(text)
    spans: list[Span] = []
    later = iter(blocks)
    block = next(later, None)
    start = _first_line(text)
    for gap in _GAP.finditer(text, start):
        while block and block[1] <= gap.start():
            block = next(later, None)
        if block and block[0] < gap.start():
            continue
        if _goes_on(text, start, gap.start(), gap.end()):
            continue
        spans.append((start, gap.start()))
        start = gap.end()
    end = len(text.rstrip())
    if start < end:
        spans.append((start, end))
    return [part for span in spans for part in _parts(text, span, blocks)]


def group_paragraphs(spans: Iterable[Span], max_chars: int) -> list[Span]:
    """Joins neighbouring paragraphs into chunks of at most ``max_chars``.

    A paragraph longer than that is a chunk of its own.
    """
    chunks: list[Span] = []
    for start, end in spans:
        if chunks and end - chunks[-1][0] <= max_chars:
            chunks[-1] = (chunks[-1][0], end)
        else:
            chunks.append((start, end))
    return chunks


def _first_line(text: str) -> int:
    """Returns where the first line that is not blank starts."""
    blank = len(text) - len(text.lstrip())
    return text.rfind("\n", 0, blank) + 1


# --- Blocks


def _blocks(text: str) -> list[Span]:
    """Returns the blocks that have two believable ends, in order, none inside another."""
    marks = sorted(_marks(text), key=lambda mark: mark.start)
    alike: dict[str, list[_Mark]] = defaultdict(list)
    place: list[int] = []
    for mark in marks:
        place.append(len(alike[mark.kind]))
        alike[mark.kind].append(mark)
    blocks: list[Span] = []
    position = 0
    for mark, number in zip(marks, place, strict=True):
        if mark.start < position:
            continue
        end = mark.partner or _closed(text, alike[mark.kind], number)
        if end is not None:
            blocks.append((mark.start, end))
            position = end
    return blocks


def _marks(text: str) -> Iterator[_Mark]:
    for found in _FENCE.finditer(text):
        fence = found["fence"]
        info = found["info"].strip()
        odd = not _LANGUAGE.fullmatch(info)
        yield _Mark(found.start(), found.end(), fence[0], len(fence), bool(info), odd)
    if "$$" in text:
        yield from _dollars(text)
    yield from _brackets(text)
    yield from _named(_ENVIRONMENT.finditer(text), "begin", "\\")
    yield from _named(_TAG.finditer(text), "", "<")


def _dollars(text: str) -> Iterator[_Mark]:
    """Finds the ``$$`` that open or close an equation of several lines.

    On a line with an even number of them they close each other; a single one counts only at the
    line's start or end (``$x$$y$`` is two inline formulas).
    """
    line_end = -1
    line: list[Span] = []
    for found in _DOLLARS.finditer(text):
        if found.start() > line_end:
            yield from _edge(text, line)
            line = []
            line_end = text.find("\n", found.end())
            line_end = len(text) if line_end < 0 else line_end
        line.append(found.span())
    yield from _edge(text, line)


def _edge(text: str, line: list[Span]) -> Iterator[_Mark]:
    if len(line) % 2 == 0:
        return
    start, end = line[-1]
    after = text[end : end + _LOOK_CHARS].split("\n", 1)[0]
    if after.strip():
        start, end = line[0]
        before = text[max(0, start - _LOOK_CHARS) : start].rsplit("\n", 1)[-1]
        if before.strip():
            return
    yield _Mark(start, end, "$$")


def _brackets(text: str) -> Iterator[_Mark]:
    opened: re.Match[str] | None = None
    for found in _BRACKET.finditer(text):
        if found.group() == r"\[":
            opened = found
        elif opened is not None:
            if found.end() - opened.start() <= MAX_EQUATION_CHARS:
                yield _Mark(opened.start(), opened.end(), r"\[", partner=found.end())
            opened = None


def _named(found: Iterable[re.Match[str]], opening: str, kind: str) -> Iterator[_Mark]:
    """Pairs ends that carry a name, the inner ones first."""
    opened: dict[str, list[re.Match[str]]] = defaultdict(list)
    for mark in found:
        name = "".join(mark.group(n) for n in mark.groupdict() if n != "side").lower()
        if mark["side"] == opening:
            opened[name].append(mark)
        elif opened[name]:
            start = opened[name].pop()
            if mark.end() - start.start() <= MAX_CODE_CHARS:
                yield _Mark(start.start(), start.end(), kind, partner=mark.end())


def _closed(text: str, marks: list[_Mark], number: int) -> int | None:
    """Returns where the block that a mark opens ends, or None where it opens none."""
    mark = marks[number]
    longest = MAX_EQUATION_CHARS if mark.kind == "$$" else MAX_CODE_CHARS
    following: list[_Mark] = []
    for later in range(number + 1, len(marks)):
        other = marks[later]
        if len(following) == 2 or other.start - mark.start > 2 * longest:
            break
        if other.size >= mark.size:
            following.append(other)
    if not following or following[0].info or following[0].start - mark.start > longest:
        return None
    closing = following[0]
    if _looks(text, closing) == "open":
        # An opening mark where the closing one should be: code that ends in a blank line, unless
        # something says that the true closing mark is lost.
        own = len(following) == 2 and _looks(text, following[1]) == "close"
        prose = _HEADING.search(text, mark.end, closing.start)
        if own or prose or mark.odd or _looks(text, mark) == "close":
            return None
    return closing.end


def _looks(text: str, mark: _Mark) -> str:
    """Returns what the blank lines around a mark make it: ``open``, ``close`` or nothing."""
    if mark.info:
        return "open"
    before = bool(_BLANK_BEFORE.search(text[max(0, mark.start - _LOOK_CHARS) : mark.start]))
    after = bool(_BLANK_AFTER.match(text[mark.end : mark.end + _LOOK_CHARS]))
    if before == after:
        return ""
    return "open" if before else "close"


# --- Lines that belong together


def _goes_on(text: str, start: int, end: int, following: int) -> bool:
    """Tells whether the text behind a blank line continues the list item or code before it."""
    if following - start > PART_CHARS:
        return False
    indent = _width(text, following)
    if indent < 2:
        return False
    item = _ITEM.match(text, start)
    if item:
        return indent >= item.end() - start
    last_line = max(start, text.rfind("\n", start, end) + 1)
    return min(indent, _width(text, start), _width(text, last_line)) >= 4


def _width(text: str, line: int) -> int:
    indent = _INDENT.match(text, line)
    return len(indent.group().expandtabs(4)) if indent else 0


def _parts(text: str, span: Span, blocks: list[Span]) -> Iterator[Span]:
    """Parts an overlong stretch at line ends, never inside a block, a table or a list item."""
    start, end = span
    if end - start <= MAX_PLAIN_CHARS:
        yield span
        return
    position, last = start, start
    for line in _line_starts(text, span, blocks):
        if line - position > PART_CHARS and last > position:
            yield position, last - 1
            position = last
        last = line
    if end - position > PART_CHARS and last > position:
        yield position, last - 1
        position = last
    yield position, end


def _line_starts(text: str, span: Span, blocks: list[Span]) -> Iterator[int]:
    """Yields where an overlong stretch may be parted."""
    start, end = span
    marker = _ITEM.match(text, start)
    indent = len(marker["indent"]) if marker else 0
    number = max(0, bisect_left(blocks, (start, start)) - 1)
    line = text.find("\n", start, end) + 1
    row = bool(_ROW.match(text, start))
    while line:
        while number < len(blocks) and blocks[number][1] <= line:
            number += 1
        inside = number < len(blocks) and blocks[number][0] < line
        before, row = row, bool(_ROW.match(text, line))
        item = _ITEM.match(text, line) if marker else None
        begins = not marker or (item and len(item["indent"]) <= indent)
        if begins and not inside and not (before and row):
            yield line
        line = text.find("\n", line, end) + 1
