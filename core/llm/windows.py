"""How long texts are cut for scoring, and how work is grouped into batches.

A text longer than a window is scored in strides: each token once, and from the second window on
with at least half a window of text on its left. A window is the model's context, or
``batch_tokens`` if that is less, so that memory is bounded whatever the text; ``L`` tokens with the
beginning-of-text token, which only the first window has::

    window 1  [0 ........... L)              scores all but the first
    window 2        [L/2 ......... 3L/2)     scores the second half
    window 3               ...               the last one ends with the text and is L long too
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SPARE_TOKENS = 64
"""Padding that costs less than another forward pass would."""


@dataclass(frozen=True)
class Window:
    """Tokens of one forward pass; positions ``first:`` are scored."""

    request: int
    ids: list[int]
    first: int


def cut_windows(request: int, ids: list[int], first: int, limit: int) -> Iterator[Window]:
    """Cuts tokens into windows of at most ``limit`` in which each token is scored once.

    With ``n`` tokens from ``first`` on to score, the windows end at ``limit``, then every
    ``limit // 2`` tokens, then at the end; each begins ``limit`` tokens before its end (or at the
    text's first token) and scores what the one before it did not.
    """
    position, stride = first, max(1, limit // 2)
    while position < len(ids):
        end = min(len(ids), max(limit, position + stride))
        begin = max(0, end - limit)
        yield Window(request, ids[begin:end], position - begin)
        position = end


def batches(
    lengths: Sequence[int], budget_tokens: int, spare_padding: bool = False
) -> Iterator[list[int]]:
    """Groups numbers of similar length; a group padded to its longest stays in the budget.

    Args:
        lengths: tokens of each.
        budget_tokens: padded tokens of a group.
        spare_padding: more groups rather than one that is padded by more than an eighth.
    """
    batch: list[int] = []
    tokens = 0
    for number in sorted(range(len(lengths)), key=lambda n: (lengths[n], n)):
        padded = lengths[number] * (len(batch) + 1)
        waste = padded - tokens - lengths[number]
        wasteful = spare_padding and waste > _SPARE_TOKENS + padded // 8
        if batch and (padded > budget_tokens or wasteful):
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += lengths[number]
    if batch:
        yield batch
