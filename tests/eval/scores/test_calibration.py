"""Confidence, reliability, ECE and Brier's score against sums by hand and plain loops."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from eval.scores.calibration import calibration, calibration_entry, confidences, shares_of


def answers(
    logprobs: list[list[float]], choice: list[int | None], answer: list[int | None]
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "place": range(len(choice)),
            "choices": [len(row) or 4 for row in logprobs],
            "choice": choice,
            "answer": answer,
            "correct": [None if a is None else c == a for c, a in zip(choice, answer, strict=True)],
            "logprobs": logprobs,
        },
        schema={
            "place": pl.Int32,
            "choices": pl.Int32,
            "choice": pl.Int32,
            "answer": pl.Int32,
            "correct": pl.Boolean,
            "logprobs": pl.List(pl.Float64),
        },
    )


def test_by_hand() -> None:
    """Two questions: shares (.62 .18 .1 .1) answered right, (.2 .53 .27) wrong."""
    logs = [[math.log(p) - 7 for p in row] for row in ([0.62, 0.18, 0.1, 0.1], [0.2, 0.53, 0.27])]
    entry = calibration_entry(answers(logs, [0, 1], [0, 2]), "letter")
    assert entry is not None
    assert (entry["total"], entry["accuracy"], entry["meaningful"]) == (2, 0.5, True)
    assert entry["mean_confidence"] == pytest.approx(0.575)
    assert entry["overconfidence"] == pytest.approx(0.075)
    # |1 - .62| and |0 - .53|, half of the questions each.
    assert entry["ece"] == pytest.approx(0.455)
    # Two questions fill one bin of equal mass.
    assert entry["ece_equal_mass"] == pytest.approx(0.075)
    # (.1444 + .0324 + .01 + .01) and (.04 + .2809 + .5329)
    assert entry["brier"] == pytest.approx((0.1968 + 0.8538) / 2)
    assert entry["brier_guess"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    filled = [(b["low_edge"], b["total"], b["accuracy"]) for b in entry["bins"] if b["total"]]
    assert filled == [(0.5, 1, 0.0), (0.6, 1, 1.0)]
    empty = entry["bins"][0]
    assert (empty["total"], empty["confidence"], empty["low"]) == (0, None, None)
    edges = [(b["low_edge"], b["high_edge"]) for b in entry["mass_bins"]]
    assert edges == [pytest.approx((0.53, 0.62))]


def test_against_loops() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 333)
    confidence[:3] = 1.0, 0.5, 0.2
    correct = rng.uniform(size=333) < confidence**1.5
    found = calibration(confidence, correct)
    ece = 0.0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = [
            i for i, c in enumerate(confidence) if low <= c < high or (number == 9 and c == 1.0)
        ]
        assert found["bins"][number]["total"] == len(inside)
        if inside:
            gap = np.mean(correct[inside]) - np.mean(confidence[inside])
            ece += len(inside) / 333 * abs(gap)
    assert found["ece"] == pytest.approx(ece)
    assert [b["total"] for b in found["mass_bins"]] == [34, 33, 33] * 3 + [33]
    ranked = sorted(zip(confidence, correct, strict=True))
    pieces = [[pair for i, pair in enumerate(ranked) if i * 10 // 333 == n] for n in range(10)]
    mass = sum(abs(sum(h for _, h in p) - sum(c for c, _ in p)) for p in pieces) / 333
    assert found["ece_equal_mass"] == pytest.approx(mass)
    tops = [b["high_edge"] for b in found["mass_bins"]]
    assert tops == sorted(tops)
    assert tops[-1] == 1.0


def test_softmax_of_far_and_padded_scores() -> None:
    shares = shares_of(np.array([[-1000.0, -1001.0, np.nan], [0.0, 0.0, 0.0]]))
    assert shares[0] == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0.0])
    assert shares[1] == pytest.approx([1 / 3] * 3)


def test_a_sure_and_right_model_is_perfect_and_a_sure_and_wrong_one_the_worst() -> None:
    sure = [[0.0, -900.0, -900.0, -900.0]] * 5
    right = calibration_entry(answers(sure, [0] * 5, [0] * 5), "letter")
    wrong = calibration_entry(answers(sure, [0] * 5, [1] * 5), "letter")
    assert right is not None
    assert wrong is not None
    assert (right["ece"], right["brier"]) == (0.0, 0.0)
    assert (wrong["ece"], wrong["brier"]) == (1.0, 2.0)


def test_what_is_left_out() -> None:
    """No key, nothing read, written answers, scores that are no numbers or too few."""
    logs = [[-1.0, -2.0], [-1.0, -2.0], [], [-1.0, float("nan")], [-1.0, -2.0]]
    frame = answers(logs, [0, None, 1, 0, 1], [None, 1, 1, 0, 1])
    assert confidences(frame)["place"].to_list() == [0, 4]
    entry = calibration_entry(frame, "choice")
    assert entry is not None
    assert entry["total"] == 1
    assert not entry["meaningful"]
    assert "no probabilities" in entry["note"]
    assert calibration_entry(answers([[]], [1], [1]), "json") is None


def test_equally_sure_questions_share_a_bin() -> None:
    """Else the order of the file would make an error out of nothing."""
    confidence, correct = np.full(100, 0.25), np.arange(100) < 25
    found = calibration(confidence, correct)
    assert [(b["total"], b["accuracy"]) for b in found["mass_bins"]] == [(100, 0.25)]
    assert (found["ece"], found["ece_equal_mass"]) == (0.0, 0.0)
