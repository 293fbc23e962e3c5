"""Which entry of the recipe a set belongs to, and how often each of its rows comes."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.errors import InputError, RecipeError
from core.recipe.mixture import TEMPLATE_SETS, Mixture, MixtureSet

log = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_WHERE = "key synth.mixture.sets"
_MAY_BE_EMPTY = frozenset(("qa", "summaries", *TEMPLATE_SETS))
"""Names of stages' own sets: right even where a stage made no row."""


def entry_of_sets(names: Sequence[str], section: Mixture) -> list[int]:
    """Returns for each set the number of the recipe's entry that it belongs to, or -1.

    A full name goes before patterns, an earlier pattern before a later one.

    Raises:
        RecipeError: an entry names no set.
    """
    entries = section.entries
    full = {entry.name: number for number, entry in enumerate(entries)}
    patterns = [_pattern(entry.name) for entry in entries]
    for entry, pattern in zip(section.sets, patterns, strict=False):
        if not any(pattern.fullmatch(name) for name in names) and entry.name not in _MAY_BE_EMPTY:
            raise _unknown(entry.name, names)
    return [
        full.get(
            name, next((n for n, pattern in enumerate(patterns) if pattern.fullmatch(name)), -1)
        )
        for name in names
    ]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)


def _unknown(name: str, names: Sequence[str]) -> RecipeError:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    there = ", ".join(sorted(names)) or "none"
    return RecipeError(
        f"no conversation is of the set '{name}'",
        where=_WHERE,
        remedy=f"did you mean {' or '.join(near)}? There are: {there}"
        if near
        else f"name a set that there is, or leave it out; there are: {there}",
    )


def times_taken(entry: Ints, taken: Flags, sizes: Ints, section: Mixture) -> Ints:
    """Returns how often each row comes; arrays by rank, the first rows of a set are taken first.

    Args:
        entry: number of the recipe's entry of each row, or -1.
        taken: whether the row may be taken at all.
        sizes: UTF-8 bytes of each row.
        section: the recipe section.

    Raises:
        InputError: a set with a byte share has no row.
    """
    times = np.zeros(len(entry), dtype=np.int64)
    rows = [
        np.flatnonzero(taken & (entry == number)).astype(np.int64)
        for number in range(len(section.entries))
    ]
    for each, ranks in zip(section.entries, rows, strict=True):
        if each.byte_share is None:
            times[ranks] = _of_rows(each, len(ranks))
    shares = _byte_shares(section)
    total = _total_bytes(section, shares, rows, sizes, int((times * sizes).sum()))
    for number, share in shares.items():
        ranks = rows[number]
        ends = np.cumsum(sizes[ranks])
        # The middle of the row that reaches over the budget decides: the nearest number of bytes.
        count = int(np.searchsorted(ends - sizes[ranks] / 2, share * total))
        times[ranks[:count]] = 1
        there = int(sizes[ranks].sum())
        if there < share * total * (1 - 1e-9):
            log.warning(
                "synth.mixture: the set '%s' has %d bytes, its share is %d: it is taken whole",
                section.entries[number].name,
                there,
                round(share * total),
            )
    return times


def _of_rows(entry: MixtureSet, rows: int) -> Ints:
    """Returns how often each of a set's rows comes, by weight or count."""
    if entry.count is not None:
        if entry.count > rows:
            log.warning(
                "synth.mixture: the set '%s' has %d rows, %d are asked for: it is taken whole",
                entry.name,
                rows,
                entry.count,
            )
        return (np.arange(rows) < entry.count).astype(np.int64)
    weight = 1.0 if entry.weight is None else entry.weight
    # Of a set that is there, a row at least.
    total = max(int(weight * rows + 0.5), 1) if rows else 0
    whole, rest = divmod(total, max(rows, 1))
    return whole + (np.arange(rows) < rest).astype(np.int64)


def _byte_shares(section: Mixture) -> dict[int, float]:
    """Returns entry to share; where all have one they make exactly 1."""
    shares = {
        number: entry.byte_share
        for number, entry in enumerate(section.entries)
        if entry.byte_share is not None
    }
    total = sum(shares.values()) if len(shares) == len(section.entries) else 1.0
    return {number: share / total for number, share in shares.items()}


def _total_bytes(
    section: Mixture, shares: dict[int, float], rows: Sequence[Ints], sizes: Ints, fixed: int
) -> float:
    """Returns the bytes that shares are of; ``fixed`` are those of sets without a share."""
    if not shares:
        return 0.0
    for number in shares:
        if not len(rows[number]):
            raise InputError(
                f"the set '{section.entries[number].name}' has no row to take a share of",
                where=_WHERE,
                remedy="see its stage's rejects; or leave the set out, or give it a weight",
            )
    bound = min(float(sizes[rows[number]].sum()) / share for number, share in shares.items())
    if len(shares) == len(section.entries):
        return bound if section.total_bytes is None else min(bound, float(section.total_bytes))
    if section.total_bytes is not None:
        return float(section.total_bytes)
    return fixed / (1 - sum(shares.values()))
