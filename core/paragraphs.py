"""Split Markdown into paragraphs without cutting through code blocks or display equations."""

from __future__ import annotations

import re
from collections.abc import Iterable

Span = tuple[int, int]

_BLANK = re.compile(r"\n[ \t]*\n\s*")
_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)


def split_paragraphs(text: str) -> list[Span]:
    """Returns (start, end) of each paragraph, in characters, without the blank lines between.

    A paragraph ends at a blank line; a fenced code block or a ``$$`` block stays whole even
    where blank lines stand inside it.
    """
    spans: list[Span] = []
    start = len(text) - len(text.lstrip("\n"))
    for gap in _BLANK.finditer(text, start):
        if _inside_block(text[start : gap.start()]):
            continue
        spans.append((start, gap.start()))
        start = gap.end()
    end = len(text.rstrip())
    if start < end:
        spans.append((start, end))
    return spans


def _inside_block(open_text: str) -> bool:
    if len(_FENCE.findall(open_text)) % 2:
        return True
    return open_text.count("$$") % 2 == 1


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
