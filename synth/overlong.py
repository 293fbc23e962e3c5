"""Paragraphs over a token budget: cut at sentence bounds, else at lines, words or characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from core.paragraphs import Span

CountTokens = Callable[[list[str]], list[int]]
"""Counts the tokens of many texts at once."""

_Way = Callable[[str, Span, int], list[Span]]

MAX_PIECE_CHARS = 1 << 17
"""A longer paragraph is cut before its tokens are counted: tokenizers take a lot of memory."""

_SENTENCE_END = re.compile(r"[.!?][\"')\]]{0,3}\s{1,8}(?=[\"'(\[]?[A-Z0-9])|[\u3002\uff01\uff1f]")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|al|cf|vs|approx|ca|[Ff]igs?|[Ee]qs?n?|[Ss]ect?|[Rr]efs?|No|Dr|Mr|Mrs|Ms|Prof"
    r"|St|resp|et)|\b[A-Z])\.$"
)
_LINE_END = re.compile(r"\n+")
_LINES_FIRST = re.compile(r"\s*(?:\||`{3}|~{3}|\$\$|\\|<|[-*+] |\d+[.)] )")


def before_counting(text: str, span: Span) -> list[Span]:
    """Returns a paragraph's span, or parts of one that is too long to be counted at once."""
    if span[1] - span[0] <= MAX_PIECE_CHARS:
        return [span]
    return [
        part
        for sentence in _sentences(text, span, 0)
        for part in _words(text, sentence, MAX_PIECE_CHARS)
    ]


def cut_overlong(
    text: str, span: Span, count: CountTokens, budget: int
) -> Iterator[tuple[Span, int]]:
    """Yields parts of at most ``budget`` tokens with their tokens."""
    lines_first = _LINES_FIRST.match(text, *span)
    first = (_lines, _sentences) if lines_first else (_sentences, _lines)
    return _parts(text, span, count, budget, (*first, _words, _windows))


def _parts(
    text: str, span: Span, count: CountTokens, budget: int, ways: Sequence[_Way]
) -> Iterator[tuple[Span, int]]:
    way, *others = ways
    parts = way(text, span, budget)
    counts = count([text[start:end] for start, end in parts])
    for part, tokens in zip(parts, counts, strict=True):
        if tokens <= budget or not others:
            yield part, tokens
        else:
            yield from _parts(text, part, count, budget, others)


def _sentences(text: str, span: Span, budget: int) -> list[Span]:
    cuts = [
        found.end()
        for found in _SENTENCE_END.finditer(text, *span)
        if not _ABBREVIATION.search(text, max(span[0], found.start() - 12), found.start() + 1)
    ]
    return _between(span, cuts)


def _lines(text: str, span: Span, budget: int) -> list[Span]:
    return _between(span, [found.end() for found in _LINE_END.finditer(text, *span)])


def _words(text: str, span: Span, budget: int) -> list[Span]:
    """Parts of ``budget`` characters at most, ending at spaces: tokens are longer as a rule."""
    start, end = span
    cuts = []
    while end - start > budget:
        space = text.rfind(" ", start + 1, start + budget)
        start = space + 1 if space > 0 else start + budget
        cuts.append(start)
    return _between(span, cuts)


def _windows(text: str, span: Span, budget: int) -> list[Span]:
    """Parts of so few characters that their UTF-8 bytes fit, whatever the tokenizer."""
    return _between(span, list(range(span[0] + max(1, budget // 4), span[1], max(1, budget // 4))))


def _between(span: Span, cuts: list[int]) -> list[Span]:
    return [(a, b) for a, b in pairwise([span[0], *cuts, span[1]]) if a < b]
