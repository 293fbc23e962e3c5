"""Documents as texts short enough for one prompt each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from synth.chunks import CountTokens, Limits, cut_documents


@dataclass(frozen=True)
class Parts:
    """A document's text in parts.

    Args:
        texts: in order; one where the document fits a prompt.
        tokens: of all of them.
    """

    texts: tuple[str, ...]
    tokens: int


def parts_of(
    texts: Sequence[str], count: CountTokens, part_tokens: int, skip: Collection[str]
) -> list[Parts]:
    """Cuts documents between sections, else between paragraphs, else sentences.

    Neighbouring sections share a part as far as they fit, so that a short document has one part.

    Args:
        texts: Markdown.
        count: counts tokens, see :func:`synth.chunks.token_counter`.
        part_tokens: tokens of a part, at most.
        skip: names of sections left out.

    Returns:
        One per text, in order.
    """
    found = []
    for text, cut in zip(
        texts, cut_documents(texts, count, Limits(part_tokens), skip), strict=True
    ):
        parts: list[list[str]] = []
        room = 0
        for chunk in cut.chunks:
            if chunk.tokens > room:
                parts.append([])
                room = part_tokens
            parts[-1].append(text[chunk.start_char : chunk.end_char].strip())
            room -= chunk.tokens
        tokens = sum(chunk.tokens for chunk in cut.chunks)
        found.append(Parts(tuple("\n\n".join(part) for part in parts), tokens))
    return found


def groups_of(sizes: Sequence[int], budget: int) -> list[range]:
    """Groups neighbours up to a budget, at least two at a time so that each round has fewer.

    Args:
        sizes: of the things to group, tokens.
        budget: of a group.
    """
    groups: list[range] = []
    start = used = 0
    for place, size in enumerate(sizes):
        if place - start >= 2 and used + size > budget:
            groups.append(range(start, place))
            start, used = place, 0
        used += size
    if start < len(sizes):
        groups.append(range(start, len(sizes)))
    return groups
