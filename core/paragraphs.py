"""Split Markdown into paragraphs without cutting through code blocks or display equations."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

Span = tuple[int, int]

_BLANK = re.compile(r"\n[ \t]*\n\s*")
_MARK = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)$|\$\$", re.MULTILINE)


def split_paragraphs(text: str) -> list[Span]:
    """Returns (start, end) of each paragraph, in characters, without the blank lines between.

    A paragraph ends at a blank line; a fenced code block or a ``$$`` block stays whole even
    where blank lines stand inside it. A fence or ``$$`` that nothing closes is plain text, so that
    one stray mark does not make a paragraph of the rest of the document.
    """
    spans: list[Span] = []
    blocks = iter(_blocks(text))
    block = next(blocks, None)
    start = len(text) - len(text.lstrip())
    for gap in _BLANK.finditer(text, start):
        while block and block[1] <= gap.start():
            block = next(blocks, None)
        if block and block[0] < gap.start():
            continue
        spans.append((start, gap.start()))
        start = gap.end()
    end = len(text.rstrip())
    if start < end:
        spans.append((start, end))
    return spans


def _blocks(text: str) -> list[Span]:
    """Returns the fenced code blocks and display equations, in order, none inside another."""
    marks = [(m["fence"][:3] if m["fence"] else "$$", m) for m in _MARK.finditer(text)]
    closers: dict[str, list[int]] = defaultdict(list)
    for number, (kind, mark) in enumerate(marks):
        if kind == "$$" or not mark["info"].strip():
            closers[kind].append(number)
    blocks: list[Span] = []
    number = 0
    while number < len(marks):
        kind, mark = marks[number]
        later = bisect_right(closers[kind], number)
        if later < len(closers[kind]):
            number = closers[kind][later]
            blocks.append((mark.start(), marks[number][1].end()))
        number += 1
    return blocks


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
