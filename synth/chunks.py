"""Documents cut into chunks to ask about: at section and paragraph bounds, within a token budget.

::

    section A  [heading][par][par][par][par][par]      section B  [heading][par]
    chunk 1     `------------------'
    chunk 2              `---------------------'       overlap: whole paragraphs, never of another
    chunk 3                                             `-----------'      section

A chunk does not run on into the next section unless it is short: then small sections share a chunk.
Equations, tables and code stay whole (:mod:`core.paragraphs`); only a paragraph that is over the
budget by itself is cut, at sentence bounds. Chunks cover all of the text but the sections that are
skipped, which come back with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from core.paragraphs import Span
from core.sections import Section, is_named, split_sections
from synth.overlong import CountTokens, before_counting, cut_overlong

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Chunk", "CountTokens", "Cut", "Limits", "cut_documents", "token_counter"]

JOIN_SHARE = 0.25
"""A chunk shorter than this share of the budget takes in the section after it."""

_BATCH_CHARS = 1 << 18
"""Tokenizers keep 100 bytes and more of every token in a call."""

_APPENDIX = re.compile(r"(?:\d+[.)]?\s+|[*_]+)?appendi", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """How long chunks are, in tokens.

    Args:
        chunk_tokens: a chunk with its overlap holds no more, as the sum over its paragraphs (where
            two meet, a tokenizer may make a token more or fewer).
        overlap_tokens: whole paragraphs of the chunk before, of the same section, up to that many.
    """

    chunk_tokens: int
    overlap_tokens: int = 0

    @property
    def join_tokens(self) -> int:
        """A chunk shorter than that goes on into the next section."""
        return int(self.chunk_tokens * JOIN_SHARE)


@dataclass(frozen=True)
class Chunk:
    """A stretch of a document.

    Args:
        start_char: where it starts in the document's text, its overlap included.
        end_char: where it ends.
        own_start_char: where text starts that the chunk before does not hold.
        tokens: its length.
        path: headings that stand above all of it, outermost first.
    """

    start_char: int
    end_char: int
    own_start_char: int
    tokens: int
    path: tuple[str, ...]


@dataclass
class Cut:
    """What a document was cut into."""

    chunks: list[Chunk] = field(default_factory=list)
    skipped: list[tuple[Span, str]] = field(default_factory=list)
    """Skipped sections, each with its heading."""
    paragraphs_cut: int = 0
    """Paragraphs over the budget."""


@dataclass(frozen=True)
class _Unit:
    """What is not parted: a paragraph (with the heading above it), or a part of an overlong one.

    ``stop_char`` is where the next unit starts: blank lines count with the unit before them.
    """

    start_char: int
    end_char: int
    stop_char: int
    section: int
    tokens: int = 0
    heading: bool = False
    whole: bool = True


def token_counter(tokenizer: PreTrainedTokenizerBase) -> CountTokens:
    """Returns a function that counts the tokens of many texts at once.

    Special-token text inside a text counts as plain text.
    """

    def count(texts: list[str]) -> list[int]:
        counts: list[int] = []
        batch: list[str] = []
        chars = 0
        for text in texts:
            batch.append(text)
            chars += len(text)
            if chars >= _BATCH_CHARS:
                counts += _count_batch(tokenizer, batch)
                batch, chars = [], 0
        return counts + (_count_batch(tokenizer, batch) if batch else [])

    return count


def _count_batch(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[int]:
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,
    )
    return [len(ids) for ids in encoded["input_ids"]]


def cut_documents(
    texts: Sequence[str], count: CountTokens, limits: Limits, skip: Collection[str] = ()
) -> list[Cut]:
    """Cuts documents into chunks; the tokens of all their paragraphs are counted in one call.

    Args:
        texts: Markdown.
        count: see :func:`token_counter`.
        limits: how long chunks are.
        skip: names of sections (:func:`core.sections.section_name`) that are left out, with the
            sections inside them short of appendices.

    Returns:
        One result per text, in order.
    """
    cuts: list[Cut] = []
    drafts: list[list[_Unit]] = []
    sections: list[list[Section]] = []
    for text in texts:
        found = split_sections(text, skip)
        cut = Cut()
        drafts.append(_units(text, found, skip, cut))
        sections.append(found)
        cuts.append(cut)
    pieces = [
        text[u.start_char : u.stop_char]
        for text, units in zip(texts, drafts, strict=True)
        for u in units
    ]
    counted = iter(count(pieces))
    for text, units, found, cut in zip(texts, drafts, sections, cuts, strict=True):
        sized = [replace(unit, tokens=next(counted)) for unit in units]
        fitting = _joined_headings(list(_fitting(text, sized, count, limits, cut)), limits)
        cut.chunks = _chunks(_groups(fitting, limits), found, limits)
    return cuts


# --- What is asked about


def _units(text: str, sections: Sequence[Section], skip: Collection[str], cut: Cut) -> list[_Unit]:
    """Returns the blocks of the sections that count, and notes the others."""
    found: list[_Unit] = []
    for number, section in enumerate(sections):
        reason = _skipped(section.path, skip)
        if reason is not None:
            cut.skipped.append(((section.start_char, section.end_char), reason))
            continue
        for block in section.blocks:
            parts = before_counting(text, (block.start_char, block.end_char))
            whole = len(parts) == 1
            cut.paragraphs_cut += not whole
            found += [_Unit(s, e, e, number, 0, block.heading, whole) for s, e in parts]
    return [
        replace(unit, stop_char=_stop(unit, after))
        for unit, after in pairwise([*found, None])
        if unit is not None
    ]


def _stop(unit: _Unit, after: _Unit | None) -> int:
    contiguous = after is not None and after.section - unit.section <= 1
    return after.start_char if after is not None and contiguous else unit.end_char


def _skipped(path: tuple[str, ...], skip: Collection[str]) -> str | None:
    """Returns the heading for which a section is left out, if any."""
    for depth in range(len(path) - 1, -1, -1):
        if _APPENDIX.match(path[depth]):
            # PDFs lose levels: an appendix below "References" is not part of them.
            return None
        if is_named(path[depth], skip):
            return path[depth]
    return None


# --- Paragraphs over the budget


def _fitting(
    text: str, units: Sequence[_Unit], count: CountTokens, limits: Limits, cut: Cut
) -> Iterator[_Unit]:
    """Yields the units, an overlong one as parts that each fit."""
    for unit in units:
        if unit.tokens <= limits.chunk_tokens:
            yield unit
            continue
        cut.paragraphs_cut += unit.whole
        span = unit.start_char, unit.stop_char
        parts = [
            (start, start + len(text[start:end].rstrip()), tokens)
            for (start, end), tokens in cut_overlong(text, span, count, limits.chunk_tokens)
            if not text[start:end].isspace()
        ]
        stops = [*(start for start, _, _ in parts[1:]), unit.stop_char]
        for (start, end, tokens), stop in zip(parts, stops, strict=True):
            yield _Unit(start, end, stop, unit.section, tokens, whole=False)


# --- Units to chunks


def _joined_headings(units: Sequence[_Unit], limits: Limits) -> list[_Unit]:
    """Joins every heading with the paragraph below it, so that none ends a chunk."""
    found: list[_Unit] = []
    for unit in units:
        above = found[-1] if found else None
        if (
            above is not None
            and above.heading
            and above.stop_char == unit.start_char
            and above.tokens + unit.tokens <= limits.chunk_tokens
        ):
            tokens = above.tokens + unit.tokens
            found[-1] = replace(unit, start_char=above.start_char, tokens=tokens)
        else:
            found.append(unit)
    return found


def _groups(units: Sequence[_Unit], limits: Limits) -> list[list[_Unit]]:
    """Returns the units of each chunk, without overlap."""
    groups: list[list[_Unit]] = []
    used = room = 0
    for unit in units:
        if groups and used + unit.tokens <= room and _belongs(groups[-1][-1], unit, used, limits):
            groups[-1].append(unit)
            used += unit.tokens
            continue
        groups.append([unit])
        used, room = unit.tokens, limits.chunk_tokens
        if len(groups) > 1:
            room -= sum(u.tokens for u in _overlap(groups[-2], groups[-1], limits.overlap_tokens))
    for before, group in pairwise(groups):
        _even_out(before, group, limits)
    return groups


def _belongs(last: _Unit, unit: _Unit, used: int, limits: Limits) -> bool:
    """Tells whether a unit may stand in one chunk with the one before it."""
    if last.stop_char != unit.start_char:
        return False
    return last.section == unit.section or used < limits.join_tokens


def _continues(before: list[_Unit], group: list[_Unit]) -> bool:
    last, first = before[-1], group[0]
    return last.section == first.section and last.stop_char == first.start_char


def _overlap(before: list[_Unit], group: list[_Unit], tokens: int) -> list[_Unit]:
    """Returns the whole paragraphs at the end of a chunk that the next one repeats."""
    start = len(before)
    if _continues(before, group):
        for unit in reversed(before):
            tokens -= unit.tokens
            if not unit.whole or unit.section != group[0].section or tokens < 0:
                break
            start -= 1
    return before[start:]


def _even_out(before: list[_Unit], group: list[_Unit], limits: Limits) -> None:
    """Moves the last paragraphs of a chunk to a short one that goes on with its section."""
    if not _continues(before, group):
        return
    room = limits.chunk_tokens - limits.overlap_tokens
    tokens, rest = sum(u.tokens for u in group), sum(u.tokens for u in before)
    while tokens < limits.join_tokens and len(before) > 1:
        moved = before[-1].tokens
        fits = tokens + moved <= room and rest - moved >= limits.join_tokens
        if not fits or before[-1].section != group[0].section:
            return
        group.insert(0, before.pop())
        tokens, rest = tokens + moved, rest - moved


def _chunks(
    groups: Sequence[list[_Unit]], sections: Sequence[Section], limits: Limits
) -> list[Chunk]:
    chunks = []
    before: list[_Unit] | None = None
    for group in groups:
        tokens = sum(u.tokens for u in group)
        room = min(limits.overlap_tokens, limits.chunk_tokens - tokens)
        repeated = _overlap(before, group, room) if before else []
        whole = [*repeated, *group]
        chunks.append(
            Chunk(
                whole[0].start_char,
                group[-1].end_char,
                group[0].start_char,
                sum(u.tokens for u in whole),
                _common([sections[u.section].path for u in group]),
            )
        )
        before = group
    return chunks


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(paths), max(paths)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]
