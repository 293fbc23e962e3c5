"""Where a text goes round in circles.

OCR models fall into loops: the same words for a page, then slowly other ones ("a system of motion
motion motion a system of motion motion"), a counter that runs, a paragraph fifty times. Few of
these have one exact period, so what is looked for is text that says nothing new: every ``NGRAM``
tokens in a row have been there before, not far back. How often it goes round is the sum of one over
the distance to the place before, token by token; that needs no exact period and one pass.

A sort of the n-grams is all that costs more than linear time. Of a million, two count as equal if
44 bits of their hashes are equal; a wrong pair, should there ever be one, makes no loop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.repetition.tokens import Tokens

NGRAM = 8
"""Tokens in a row that must have been there before."""
MAX_PERIOD_TOKENS = 1_000
"""How far back: a page. Chapters that repeat boilerplate farther apart are not loops."""
MAX_GAP_TOKENS = 16
"""New tokens in a row inside a loop, as where it changes."""
MAX_NEW = 0.03
"""Share of new tokens inside a loop. Lists of addresses or names with one beginning have more."""
NEAR_TOKENS = 64
"""A place before that is at most this far is the lap before; also one within four periods."""
MIN_TOKENS = 16
"""Shorter stretches are not looked at."""
MIN_STEADY = 0.8
"""Share of a loop's numbers that stay or step by one."""

_BASE = np.uint64(0x9E3779B97F4A7C15)


class Loop(NamedTuple):
    """A stretch of tokens that only repeats what stands before it.

    Args:
        start: first token that repeats; the first copy is before it.
        end: token after the last.
        period: tokens from one copy to the next, the median.
        laps: how often it goes round, at least: every n-gram that was there before counts as one
            over the distance to it.
    """

    start: int
    end: int
    period: int
    laps: float


class Repeats(NamedTuple):
    """What repeats in a stream of N token hashes.

    Args:
        loops: the stretches, in order.
        distance: (N,) distance to the place before, where an n-gram begins that was there before;
            elsewhere 0.
    """

    loops: list[Loop]
    distance: NDArray[np.int64]


def may_loop(hashes: NDArray[np.uint64], min_laps: float) -> bool:
    """Tells whether there can be a loop of so many laps, at a part of the cost of finding it.

    Hashes with counters made the same answer for those without as well: there an n-gram is at
    least as often, and as near, where it was before.
    """
    distance = _distances(hashes)
    begins = np.flatnonzero(distance)
    if not len(begins):
        return False
    parts = np.flatnonzero(np.diff(begins, prepend=-MAX_PERIOD_TOKENS) > NGRAM + MAX_GAP_TOKENS)
    return bool(np.add.reduceat(1.0 / distance[begins], parts).max() >= min_laps)


def find_repeats(hashes: NDArray[np.uint64]) -> Repeats:
    """Returns all stretches of ``MIN_TOKENS`` or more that go round at least once."""
    distance = _distances(hashes)
    begins = np.flatnonzero(distance)
    if not len(begins):
        return Repeats([], distance)
    # A token repeats if any n-gram around it does.
    change = np.zeros(len(hashes) + 1, np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, begins + NGRAM, -1)
    repeats = np.cumsum(change) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], repeats])))
    runs = _joined(list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)), distance)
    rounds = np.zeros(len(hashes) + 1)
    np.divide(1.0, distance, out=rounds[1:], where=distance > 0)
    np.cumsum(rounds, out=rounds)
    loops = []
    for start, end in runs:
        laps = float(rounds[end] - rounds[start])
        if laps < 1.0 or end - start < MIN_TOKENS:
            continue
        back = distance[start:end]
        period = int(np.median(back[back > 0]))
        # Text may repeat a far page before it goes into a loop, and older text after it: no laps.
        near = np.flatnonzero((back > 0) & (back <= max(NEAR_TOKENS, 4 * period)))
        first = start + int(near[0])
        sources = start + near - back[near]
        last = start + int(near[sources >= first - back[near[0]]][-1]) + NGRAM
        last = min(last, end)
        loops.append(Loop(first, last, period, min(laps, (last - first) / period)))
    return Repeats(loops, distance)


def _distances(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    distance = np.zeros(len(hashes), np.int64)
    count = len(hashes) - NGRAM + 1
    if count < 2:
        return distance
    grams = np.zeros(count, np.uint64)
    for step in range(NGRAM):
        grams = (grams + hashes[step : step + count]) * _BASE
    # Hash and place in one number: sorting plain numbers is several times faster than an argsort.
    low = np.uint64((1 << count.bit_length()) - 1)
    keys = np.sort((grams & ~low) | np.arange(count, dtype=np.uint64))
    places = (keys & low).astype(np.int64)
    same = np.flatnonzero((keys[1:] ^ keys[:-1]) <= low)
    back = places[same + 1] - places[same]
    distance[places[same + 1]] = np.where(back <= MAX_PERIOD_TOKENS, back, 0)
    return distance


def _joined(runs: list[tuple[int, int]], distance: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Joins neighbouring runs over gaps that are short beside them."""
    joined: list[tuple[int, int]] = []
    new = 0
    for start, end in runs:
        if joined:
            first, last = joined[-1]
            source = start - int(distance[start])
            gap = start - last
            # A loop that goes on repeats itself; what repeats something else is another loop.
            goes_on = first - NEAR_TOKENS <= source <= last - NGRAM
            if goes_on and gap <= MAX_GAP_TOKENS and new + gap <= MAX_NEW * (end - first):
                joined[-1] = (first, end)
                new += gap
                continue
        joined.append((start, end))
        new = 0
    return joined


def counts_up(loop: Loop, distance: NDArray[np.int64], tokens: Tokens, text: str) -> bool:
    """Tells whether the numbers of a loop stay or step by one from one lap to the next.

    A list of data has other numbers on every line; a loop with a counter does not.
    """
    at = np.arange(loop.start, loop.end)
    at = at[tokens.counts()[at] & (distance[at] > 0)]
    steady = 0
    for here, back in zip(at.tolist(), distance[at].tolist(), strict=True):
        now, before = (text[tokens.start[n] : tokens.end[n]] for n in (here, here - back))
        steady += abs(_value(now) - _value(before)) <= 1
    return steady >= MIN_STEADY * len(at)


def _value(token: str) -> int:
    """Returns what a counter stands at: a number, or the place of a letter."""
    return int(token) if token.isdecimal() else -ord(token[0])
