"""Calibration: is a model right as often as it is sure?

The scores compared for an answer go through a softmax over the question's choices; the share of the
chosen one is the model's *confidence*. Over the questions with a key:

* the reliability curve is the accuracy in bins of confidence, ten of equal width and up to ten of
  equally many questions (as HELM has: Liang et al. 2022, section 4.3);
* ECE is the mean over questions of |accuracy - confidence| of their bin (Naeini et al. 2015; Guo
  et al. 2017, section 2). It is never 0 in a finite sample: bins of few questions miss by chance;
* Brier's score is the mean squared distance of the shares from (0, ..., 1, ..., 0) (Brier 1950): 0
  is best, 2 worst; guessing evenly among four gives 0.75. It needs no bins.

In ``letter`` mode the scores are probabilities of the next token, so the shares are what the model
believes. In ``choice`` mode they are likelihoods of whole answers, by default per token: they rank
answers, but their softmax is far too flat to be a belief. ``meaningful`` says which it is. Answers
that were written have no scores and no entry here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from core.intervals import wilson
from eval.scores.rows import padded

BINS = 10
MIN_QUESTIONS = 5
"""In a bin of equally many; fewer questions make fewer bins."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_NOTES = {
    "letter": "Confidence is the probability of the chosen letter among the listed letters.",
    "choice": (
        "These scores rank whole answers by their likelihood (per token unless the recipe says "
        "otherwise); they are no probabilities, so this curve shows their order, not a belief."
    ),
}
_OTHER_NOTE = "Confidence is the softmax of the scores that were compared."


def shares_of(logprobs: Floats) -> Floats:
    """Returns the softmax of each row ``(questions, choices)``; NaN pads and gets no share."""
    top = np.nanmax(logprobs, axis=1, keepdims=True)
    weights = np.exp(np.nan_to_num(logprobs - top, nan=-np.inf))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def confidences(first: pl.DataFrame) -> pl.DataFrame:
    """Returns ``place, confidence, brier`` of a label's answers that were compared by score.

    ``brier`` is the question's Brier score, null without a key. Rows whose scores are not one
    finite number per choice are left out.
    """
    scored = first.filter(
        pl.col("choice").is_not_null()
        & (pl.col("logprobs").list.len() == pl.col("choices").cast(pl.UInt32))
    )
    scored = scored.filter(
        pl.col("logprobs").list.eval(pl.element().is_finite().fill_null(False)).list.all()
    )
    if not len(scored):
        return pl.DataFrame(
            schema={"place": pl.Int32, "confidence": pl.Float64, "brier": pl.Float64}
        )
    width = int(scored["choices"].to_numpy().max())
    shares = shares_of(padded(scored["logprobs"], width))
    rows = np.arange(len(scored))
    answer = scored["answer"].fill_null(0).to_numpy()
    brier = (shares**2).sum(axis=1) - 2 * shares[rows, answer] + 1
    return scored.select(
        "place",
        pl.Series("confidence", shares[rows, scored["choice"].to_numpy()]),
        pl.when(pl.col("answer").is_not_null()).then(pl.Series(brier)).alias("brier"),
    )


def reliability(confidence: Floats, correct: Bools, places: npt.NDArray[np.int64]) -> Any:
    """Returns ``(bins, ece)`` for bins given by number, one per question.

    Args:
        confidence: of each question.
        correct: whether the answer is right.
        places: the question's bin.

    Returns:
        Bins without edges, from 0 to the greatest of ``places``, at least :data:`BINS` of them.
    """
    count = np.bincount(places, minlength=BINS)
    sure = np.bincount(places, weights=confidence, minlength=BINS)
    right = np.bincount(places, weights=correct, minlength=BINS)
    bins: list[dict[str, Any]] = []
    for total, summed, hits in zip(count.tolist(), sure.tolist(), right.tolist(), strict=True):
        low, high = wilson(int(hits), total) if total else (None, None)
        bins.append(
            {
                "total": total,
                "confidence": summed / total if total else None,
                "accuracy": hits / total if total else None,
                "low": low,
                "high": high,
            }
        )
    return bins, float(np.abs(right - sure).sum() / len(confidence))


def calibration(confidence: Floats, correct: Bools) -> dict[str, Any]:
    """Returns reliability curves and ECE, for at least one question, in any order."""
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins, ece = reliability(confidence, correct, places)
    for number, entry in enumerate(bins):
        entry |= {"low_edge": number / BINS, "high_edge": (number + 1) / BINS}
    ranked = np.sort(confidence)
    count = min(BINS, max(1, len(ranked) // MIN_QUESTIONS))
    # By the rank of the first that is as sure: equally sure questions share a bin.
    mass_places = np.searchsorted(ranked, confidence) * count // len(ranked)
    mass_bins, ece_mass = reliability(confidence, correct, mass_places)
    for number, entry in enumerate(mass_bins):
        inside = confidence[mass_places == number]
        if len(inside):
            entry |= {"low_edge": float(inside.min()), "high_edge": float(inside.max())}
    mass_bins = [entry for entry in mass_bins if entry["total"]]
    mean, share = float(confidence.mean()), float(correct.mean())
    return {
        "total": len(confidence),
        "accuracy": share,
        "mean_confidence": mean,
        "overconfidence": mean - share,
        "ece": ece,
        "ece_equal_mass": ece_mass,
        "bins": bins,
        "mass_bins": mass_bins,
    }


def calibration_entry(rows: pl.DataFrame, mode: str | None) -> dict[str, Any] | None:
    """Returns a ``calibration`` entry of ``scores.json`` without label and group.

    Args:
        rows: a label's rows in file order, of one group.
        mode: how it was asked.

    Returns:
        None where no question has both a key and scores.
    """
    keyed = rows.filter(pl.col("correct").is_not_null() & pl.col("answer").is_not_null())
    found = keyed.join(confidences(keyed), on="place").sort("place")
    if not len(found):
        return None
    guess = sum(1 - 1 / n for n in found["choices"].to_list()) / len(found)
    return {
        "meaningful": mode == "letter",
        "note": _NOTES.get(mode or "", _OTHER_NOTE),
        **calibration(found["confidence"].to_numpy(), found["correct"].to_numpy()),
        "brier": float(found["brier"].to_numpy().mean()),
        "brier_guess": guess,
    }
