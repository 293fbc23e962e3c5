"""Two models on the same questions.

Wilson intervals of two accuracies say little about their difference: both models met the same hard
questions. Only the questions that one has right and the other wrong tell them apart. McNemar's test
(1947, Psychometrika 12, 153) asks whether these fall to either side as a coin would; here exactly,
by the binomial distribution, so that few of them are no problem. The difference comes with Tango's
interval, which inverts the same test's score form. Many comparisons at once find something by
chance: Holm's step-down (1979, Scand. J. Statist. 6, 65) keeps the chance of any false mark in a
family at 5%. A family is one group's pairs of models, or one model's topics in one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from core.intervals import paired_difference

SIGNIFICANT = 0.05

Marks = npt.NDArray[np.int8]
"""By question: 1 right, 0 wrong, -1 not asked or without key."""


def mcnemar(a_only: int, b_only: int) -> float:
    """Returns the exact two-sided p-value of McNemar's test.

    Args:
        a_only: questions that only a has right.
        b_only: questions that only b has right.
    """
    if a_only + b_only == 0:
        return 1.0
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    return float(binomtest(min(a_only, b_only), a_only + b_only, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values, in the given order."""
    adjusted = [0.0] * len(p_values)
    greatest = 0.0
    ranked = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, index in enumerate(ranked):
        greatest = max(greatest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = greatest
    return adjusted


def marks(first: pl.DataFrame, items: int) -> Marks:
    """Returns a label's marks over all questions from its rows in file order."""
    found: Marks = np.full(items, -1, dtype=np.int8)
    keyed = first.filter(pl.col("correct").is_not_null())
    found[keyed["place"].to_numpy()] = keyed["correct"].cast(pl.Int8).to_numpy()
    return found


def compare(a: Marks, b: Marks) -> dict[str, Any] | None:
    """Compares b with a over the questions that both were asked; None where there is none.

    Returns:
        The four counts, both accuracies, their difference b - a with its interval, and
        ``p_value``.
    """
    both = (a >= 0) & (b >= 0)
    total = int(both.sum())
    if not total:
        return None
    # One number from 0 to 3 per question: 2 where a is right plus 1 where b is.
    cells = np.bincount(2 * a[both].astype(np.int64) + b[both], minlength=4)
    both_wrong, b_only, a_only, both_right = (int(n) for n in cells)
    low, high = paired_difference(a_only, b_only, total)
    return {
        "total": total,
        "both_right": both_right,
        "a_only": a_only,
        "b_only": b_only,
        "both_wrong": both_wrong,
        "accuracy_a": (both_right + a_only) / total,
        "accuracy_b": (both_right + b_only) / total,
        "difference": (b_only - a_only) / total,
        "low": low,
        "high": high,
        "p_value": mcnemar(a_only, b_only),
    }


def pairs_of(names: Sequence[str], every: bool = False) -> list[tuple[str, str]]:
    """Returns the pairs that matter: each against the first, and each but the first to the last.

    Args:
        names: in the tables' order.
        every: all pairs instead.
    """
    if every:
        return list(combinations(names, 2))
    pairs = [(names[0], name) for name in names[1:]]
    return pairs + [(name, names[-1]) for name in names[1:-1]]


def with_holm(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the entries of a family with ``p_holm``."""
    adjusted = holm([entry["p_value"] for entry in entries])
    return [entry | {"p_holm": p} for entry, p in zip(entries, adjusted, strict=True)]


def compare_pairs(
    by_name: dict[str, Marks], inside: npt.NDArray[np.bool_], pairs: Iterable[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Compares pairs of labels on some questions; pairs without a common question are left out."""
    found = []
    for a, b in pairs:
        entry = compare(by_name[a][inside], by_name[b][inside])
        if entry is not None:
            found.append({"a": a, "b": b, **entry})
    return with_holm(found)


def mark_of(entry: dict[str, Any]) -> str:
    """Returns ``+`` where b is better than a after Holm's correction, ``-`` where worse, or ``""``.

    Exactly as many better as worse is never significant.
    """
    if entry["p_holm"] >= SIGNIFICANT:
        return ""
    return "+" if entry["difference"] > 0 else "-"
