"""Position bias: does it matter where a choice is shown?

A question asked with its choices in several orders should be answered the same. What is said of a
model, over all orders asked:

* the share of its answers on each shown place, and the accuracy where the right answer was shown
  there; their standard deviation is RStd of Zheng et al. 2024 (arXiv:2309.03882, section 2.2);
* consistency: the share of questions answered the same in every order;
* accuracy over all orders, with an interval that counts questions, not rows, as independent;
* a chi-square test that the order does not matter.

The test. A plain chi-square of the places against equal shares is wrong twice: the rows of a
question are not independent, and the file's own order need not be balanced. Here, if the order does
not matter, a question's answers could have come in any assignment to its orders, all equally
likely. Under those the mean and covariance of the place counts are known exactly (Hoeffding 1951,
Ann. Math. Stat. 22, 558), they add up over questions, and the squared distance of the counts in
that metric is chi-square. It is the generalised Cochran-Mantel-Haenszel test (Landis, Heyman & Koch
1978, Int. Stat. Rev. 46, 237) with questions as strata; questions that are always answered the same
say nothing and do not dilute it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from core.intervals import clustered
from eval.items import letter
from eval.scores.accuracy import share
from eval.scores.rows import padded

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CELLS_AT_ONCE = 2**22
"""Numbers held while the test adds up; 32 MB."""

_RANK_TOLERANCE = 1e-9


def places_shown(rows: pl.DataFrame) -> Ints:
    """Returns ``(rows, choices)``: the place at which each choice was shown, -1 past the last.

    A row whose ``order`` is null was shown in the file's order.
    """
    width = int(rows["choices"].to_numpy().max(initial=0))
    counts = rows["choices"].to_numpy()[:, None]
    order = padded(rows["order"], width, fill=-1.0).astype(np.int64)
    straight = np.where(np.arange(width) < counts, np.arange(width), -1)
    order = np.where(rows["order"].is_null().to_numpy()[:, None], straight, order)
    shown = np.full_like(order, -1)
    where, place = np.nonzero(order >= 0)
    shown[where, order[where, place]] = place
    return shown


def order_test(shown: Ints, choice: Ints, question: Ints) -> tuple[float, int, float] | None:
    """Tests whether the order matters.

    Args:
        shown: as of :func:`places_shown`.
        choice: each row's answer.
        question: each row's question.

    Returns:
        Chi-square, degrees of freedom and p-value; None where no question was answered differently
        in two orders, or where its answers fit every order alike: the test has nothing to go on.
    """
    width = shown.shape[1]
    distance, covariance = np.zeros(width), np.zeros((width, width))
    by_question = np.argsort(question, kind="stable")
    starts = np.flatnonzero(np.diff(question[by_question], prepend=-1))
    sizes = np.diff(starts, append=len(question))
    for size in np.unique(sizes[sizes > 1]).tolist():
        first = starts[sizes == size]
        at_once = max(1, _CELLS_AT_ONCE // (size * size * width))
        for begin in range(0, len(first), at_once):
            members = by_question[first[begin : begin + at_once, None] + np.arange(size)]
            moved, spread = _moments(shown, choice, members)
            distance += moved
            covariance += spread
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _RANK_TOLERANCE * max(float(values.max(initial=0.0)), 1.0)
    if not kept.any():
        return None
    from scipy.stats import chi2  # type: ignore[import-untyped]

    projected = vectors[:, kept].T @ distance
    statistic, degrees = float((projected**2 / values[kept]).sum()), int(kept.sum())
    return statistic, degrees, float(chi2.sf(statistic, degrees))


def _moments(shown: Ints, choice: Ints, members: Ints) -> tuple[Floats, Floats]:
    """Returns observed minus expected place counts, and their covariance, of some questions.

    Args:
        shown: as of :func:`places_shown`, (R, P).
        choice: (R,).
        members: rows of each question, (Q, K).
    """
    size, width = members.shape[1], shown.shape[1]
    # (Q, K, K): where answer j of a question would be in order r.
    place = shown[members[:, None, :], choice[members][:, :, None]]
    hit = (place[..., None] == np.arange(width)).astype(np.float64)
    straight = np.arange(size)
    observed = hit[:, straight, straight].sum(axis=(0, 1))
    mean = hit.mean(axis=(1, 2), keepdims=True)
    expected = size * mean.sum(axis=(0, 1, 2))
    centred = hit - hit.mean(axis=1, keepdims=True) - hit.mean(axis=2, keepdims=True) + mean
    flat = centred.reshape(-1, width)
    return observed - expected, flat.T @ flat / (size - 1)


def consistency(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Returns how many questions asked in several orders were always answered the same.

    Returns:
        ``same, total, share, low, high``; None where no question was asked twice. A question that
        was not answered in some order is not answered the same.
    """
    asked = rows.group_by("place").agg(
        pl.len().alias("rows"),
        ((pl.col("choice").n_unique() == 1) & pl.col("choice").is_not_null().all()).alias("same"),
    )
    asked = asked.filter(pl.col("rows") > 1)
    if not len(asked):
        return None
    values = share(int(asked["same"].sum()), len(asked))
    return {
        "same": values["correct"],
        "total": values["total"],
        "share": values["accuracy"],
        "low": values["low"],
        "high": values["high"],
    }


def averaged(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Returns accuracy over all orders, its interval clustered by question; None without a key."""
    keyed = rows.filter(pl.col("correct").is_not_null())
    if not len(keyed):
        return None
    counts = keyed.group_by("place").agg(pl.col("correct").sum(), pl.len()).sort("place")
    value, low, high = clustered(counts["correct"].to_list(), counts["len"].to_list())
    return {
        "accuracy": value,
        "low": low,
        "high": high,
        "questions": len(counts),
        "rows": len(keyed),
    }


def _positions(rows: pl.DataFrame) -> list[dict[str, Any]]:
    shown = places_shown(rows)
    width = shown.shape[1]
    answered = rows["choice"].is_not_null().to_numpy()
    keyed = rows["answer"].is_not_null().to_numpy()
    each = np.arange(len(rows))
    chosen = shown[each, rows["choice"].fill_null(0).to_numpy()]
    right = shown[each, rows["answer"].fill_null(0).to_numpy()]
    correct = rows["correct"].fill_null(False).to_numpy()
    sizes = rows["choices"].to_numpy()[answered]
    total = int(answered.sum())
    entries = []
    for place in range(width):
        picked = int((chosen[answered] == place).sum())
        here = keyed & (right == place)
        got = share(int(correct[here].sum()), int(here.sum()))
        even = float((1 / sizes[sizes > place]).sum())
        entries.append(
            {
                "position": letter(place),
                "chosen": picked,
                "chosen_share": picked / total if total else None,
                "expected_share": even / total if total else None,
                "right_total": got["total"],
                "right_correct": got["correct"],
                "accuracy": got["accuracy"],
                "low": got["low"] if got["total"] else None,
                "high": got["high"] if got["total"] else None,
            }
        )
    return entries


def position_bias(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Returns a ``position_bias`` entry of ``scores.json`` without label and group.

    Args:
        rows: a label's rows of one group, of all permutations.

    Returns:
        None where there is no row. What needs several orders is None where there is one.
    """
    if not len(rows):
        return None
    positions = _positions(rows)
    accuracies = [p["accuracy"] for p in positions if p["accuracy"] is not None]
    permutations = rows["permutation"].n_unique() - 1
    answered = rows.filter(pl.col("choice").is_not_null())
    tested = None
    if permutations and len(answered):
        tested = order_test(
            places_shown(answered),
            answered["choice"].to_numpy().astype(np.int64),
            answered["place"].to_numpy().astype(np.int64),
        )
    chi_square, degrees, p_value = tested or (None, None, None)
    return {
        "permutations": permutations,
        "answers": len(answered),
        "positions": positions,
        "accuracy_spread": float(np.std(accuracies)) if accuracies else None,
        "chi2": chi_square,
        "degrees": degrees,
        "p_value": p_value,
        "consistency": consistency(rows) if permutations else None,
        "averaged": averaged(rows) if permutations else None,
    }
