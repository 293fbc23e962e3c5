"""Position bias: places, the test of order, consistency, accuracy over orders."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from eval.scores.bias import order_test, places_shown, position_bias

ROTATIONS = [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]]


def frame(
    rows: list[tuple[int, int, list[int] | None, int | None, int | None, int]],
) -> pl.DataFrame:
    """Makes rows of ``(place, permutation, order, choice, answer, choices)``."""
    names = ["place", "permutation", "order", "choice", "answer", "choices"]
    kinds = [pl.Int32, pl.Int32, pl.List(pl.Int32), pl.Int32, pl.Int32, pl.Int32]
    made = pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")
    right = (pl.col("choice") == pl.col("answer")).fill_null(False)
    return made.with_columns(pl.when(pl.col("answer").is_not_null()).then(right).alias("correct"))


def asked(pick: Any, questions: int = 40) -> pl.DataFrame:
    """Asks in four rotations; ``pick(question, order)`` gives the place chosen, or None."""
    rows = []
    for place in range(questions):
        for number, order in enumerate(ROTATIONS):
            shown = pick(place, order)
            choice = None if shown is None else order[shown]
            rows.append((place, number, order, choice, place % 4, 4))
    return frame(rows)


def test_places() -> None:
    shown = places_shown(frame([(0, 0, [2, 0, 1], 0, 0, 3), (1, 0, None, 0, 0, 4)]))
    assert shown.tolist() == [[1, 2, 0, -1], [0, 1, 2, 3]]


def test_a_model_that_always_takes_the_first_place() -> None:
    entry = position_bias(asked(lambda place, order: 0))
    assert entry is not None
    assert [p["chosen_share"] for p in entry["positions"]] == [1, 0, 0, 0]
    assert [p["expected_share"] for p in entry["positions"]] == [0.25] * 4
    assert [p["accuracy"] for p in entry["positions"]] == [1, 0, 0, 0]
    assert entry["accuracy_spread"] == pytest.approx(np.std([1, 0, 0, 0]))
    assert (entry["consistency"]["same"], entry["consistency"]["total"]) == (0, 40)
    assert entry["averaged"]["accuracy"] == 0.25
    assert entry["permutations"] == 3
    assert entry["p_value"] < 1e-9


def test_a_model_that_knows_shows_no_bias() -> None:
    entry = position_bias(asked(lambda place, order: order.index(place % 4)))
    assert entry is not None
    assert [p["chosen_share"] for p in entry["positions"]] == [0.25] * 4
    assert entry["consistency"]["share"] == 1.0
    assert (entry["chi2"], entry["p_value"]) == (None, None)
    assert entry["averaged"]["accuracy"] == 1.0


def test_two_choices_in_two_orders_is_mcnemar() -> None:
    """Thirty questions taken first in both orders, eleven last in both, nine by content."""
    picks = [(0, 0)] * 30 + [(1, 1)] * 11 + [(0, 1)] * 9
    rows = [
        (place, number, order, order[shown], 0, 2)
        for place, both in enumerate(picks)
        for number, (order, shown) in enumerate(zip(([0, 1], [1, 0]), both, strict=True))
    ]
    entry = position_bias(frame(rows))
    assert entry is not None
    expected = mcnemar([[0, 30], [11, 0]], exact=False, correction=False)
    assert entry["chi2"] == pytest.approx(expected.statistic)
    assert entry["p_value"] == pytest.approx(expected.pvalue)
    assert entry["degrees"] == 1


def test_moments_by_enumeration() -> None:
    """Expected places and their covariance, over every assignment of answers to orders."""
    rng = np.random.default_rng(2)
    shown, choice, question = [], [], []
    mean, covariance = np.zeros(5), np.zeros((5, 5))
    observed = np.zeros(5)
    for number, (size, width) in enumerate([(3, 4), (4, 5), (2, 4), (3, 5)]):
        orders = [rng.permutation(width) for _ in range(size)]
        inverse = [np.append(np.argsort(o), np.full(5 - width, -1)) for o in orders]
        picked = rng.integers(0, width, size).tolist()
        counts = np.array(
            [
                np.bincount([inverse[r][c] for r, c in enumerate(assigned)], minlength=5)
                for assigned in permutations(picked)
            ]
        )
        mean += counts.mean(axis=0)
        covariance += np.cov(counts.T, ddof=0)
        observed += counts[0]
        shown += inverse
        choice += picked
        question += [number] * size
    # Questions need not lie together.
    mixed = rng.permutation(len(choice))
    found = order_test(np.array(shown)[mixed], np.array(choice)[mixed], np.array(question)[mixed])
    assert found is not None
    distance = observed - mean
    assert found[0] == pytest.approx(distance @ np.linalg.pinv(covariance, rcond=1e-9) @ distance)
    assert found[1] == np.linalg.matrix_rank(covariance, tol=1e-9)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_test_holds_its_level(mixed: bool) -> None:
    """Half of the questions known, the others guessed by content: 5% of p-values are below 5%."""
    rng = np.random.default_rng(7)
    orders = np.array(ROTATIONS if not mixed else [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 0, 1]])
    shown = np.tile(np.argsort(orders, axis=1), (60, 1))
    question = np.repeat(np.arange(60), len(orders))
    low = 0
    for _ in range(600):
        guessed = rng.choice(4, len(question), p=[0.1, 0.2, 0.3, 0.4])
        choice = np.where(question < 30, 2, guessed)
        found = order_test(shown, choice, question)
        assert found is not None
        low += found[2] < 0.05
    assert 14 <= low <= 49


def test_unanswered_rows_and_questions_without_key() -> None:
    data = asked(lambda place, order: None if place == 0 and order[0] == 2 else order.index(1))
    data = data.with_columns(
        pl.when(pl.col("place") < 20).then(pl.col("answer")).alias("answer"),
        pl.when(pl.col("place") < 20).then(pl.col("correct")).alias("correct"),
    )
    entry = position_bias(data)
    assert entry is not None
    assert entry["answers"] == 159
    assert (entry["consistency"]["same"], entry["consistency"]["total"]) == (39, 40)
    assert (entry["averaged"]["questions"], entry["averaged"]["rows"]) == (20, 80)
    assert sum(p["right_total"] for p in entry["positions"]) == 80
    assert sum(p["chosen"] for p in entry["positions"]) == 159


def test_the_files_order_alone() -> None:
    entry = position_bias(asked(lambda place, order: 0).filter(pl.col("permutation") == 0))
    assert entry is not None
    assert entry["permutations"] == 0
    for key in ("chi2", "degrees", "p_value", "consistency", "averaged"):
        assert entry[key] is None
    assert entry["positions"][0]["accuracy"] == 1.0
    assert position_bias(asked(lambda place, order: 0, questions=0)) is None
