"""Take whole paragraphs out of a document and keep its page spans right."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from core.paragraphs import Span
from corpus.documents import cut


def cut_paragraphs(
    text: str,
    pages: list[dict[str, Any]] | None,
    paragraphs: Sequence[Span],
    numbers: Collection[int],
) -> tuple[str, list[dict[str, Any]] | None]:
    """Returns the text without some paragraphs and the blank lines after them, and its page spans.

    Args:
        text: the document's text.
        pages: its page spans, or None.
        paragraphs: (start, end) of all its paragraphs, in order.
        numbers: which of them to take out.
    """
    holes = []
    for number in sorted(numbers):
        last = number + 1 == len(paragraphs)
        end = len(text) if last else paragraphs[number + 1][0]
        holes.append((paragraphs[number][0], end))
    left, spans = cut(text, pages, holes)
    stripped = left.rstrip()
    if spans is not None:
        end = len(stripped)
        spans = [
            {**s, "start_char": min(s["start_char"], end), "end_char": min(s["end_char"], end)}
            for s in spans
        ]
    return stripped, spans
