"""Equation 1 by hand, turned round, and with rounding."""

from __future__ import annotations

import pytest

from eval.value.equation import (
    Rounded,
    corpus_cost_usd,
    implied_relative_cost,
    log_cost_ratio,
    log_relative_cost,
    score_at,
    value_score,
    worth_in_cost,
)


@pytest.mark.parametrize(
    ("score", "cost", "expected"),
    [
        (77.8, 45.0, 0.0),  # the baseline
        (77.8, 4.5, 1.0),  # as good at a tenth
        (77.8, 0.00045, 5.0),  # as good at a hundred-thousandth: the paper's own reading of +5
        (81.3, 45.0, 1.0),  # 3.5 points more at the same cost
        (81.3, 450.0, 0.0),  # 3.5 points for ten times the cost: no gain
        (74.3, 450.0, -2.0),
        (84.8, 0.45, 4.0),  # 7 points are 2, a hundredth is 2
    ],
)
def test_by_hand(score: float, cost: float, expected: float) -> None:
    assert value_score(score, cost, 77.8, 45.0) == pytest.approx(expected, abs=1e-12)


def test_units_of_cost_cancel() -> None:
    assert value_score(85.1, 0.625, 77.8, 4.5) == pytest.approx(value_score(85.1, 6.25, 77.8, 45))


def test_a_row_of_table_1() -> None:
    # Gemini 3.0 Flash at 0.50 and 3 dollars, GPT-4 at 30 and 60: 12.5/3.5 + log10(45/1.75)
    assert value_score(90.3, 1.75, 77.8, 45) == pytest.approx(4.9816, abs=1e-4)
    assert round(value_score(90.3, 1.75, 77.8, 45), 2) == 4.98


@pytest.mark.parametrize("cost", [0.004, 1.0, 3.7, 250.0])
@pytest.mark.parametrize("score", [0.0, 44.9, 77.8, 100.0])
def test_inverse(score: float, cost: float) -> None:
    value = value_score(score, cost, 77.8, 1.0)
    assert implied_relative_cost(score, value, 77.8) == pytest.approx(cost)


@pytest.mark.parametrize("cost", [0.0, -1.0, float("inf"), float("nan")])
def test_costs_must_be_above_0(cost: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        value_score(80, cost, 77.8, 1)
    with pytest.raises(ValueError, match="above 0"):
        value_score(80, 1, 77.8, cost)


@pytest.mark.parametrize("score", [-0.1, 100.1, float("nan")])
def test_scores_must_be_percentages(score: float) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        value_score(score, 1, 77.8, 1)
    with pytest.raises(ValueError, match="0 to 100"):
        implied_relative_cost(80, 1, score)


def test_an_infinite_value_implies_no_cost() -> None:
    with pytest.raises(ValueError, match="finite"):
        implied_relative_cost(80, float("inf"), 77.8)


def test_rounding_of_a_cost() -> None:
    # One decimal twice and two decimals once: (0.05 + 0.05) / 3.5 + 0.005
    found = log_relative_cost(Rounded(89.0, 0.05), Rounded(5.55, 0.005), Rounded(77.8, 0.05))
    assert found.value == pytest.approx(3.2 - 5.55)
    assert found.half_width == pytest.approx(0.1 / 3.5 + 0.005)
    low, middle, high = found.powers()
    assert low < middle < high
    assert high / middle == pytest.approx(1.080, abs=1e-3)


def test_rounding_of_the_baseline_cancels_in_a_ratio() -> None:
    ratio = log_cost_ratio(
        Rounded(88.9, 0.05), Rounded(3.99, 0.005), Rounded(89.0, 0.05), Rounded(5.55, 0.005)
    )
    assert ratio.value == pytest.approx(-0.1 / 3.5 + 1.56)
    assert ratio.half_width == pytest.approx(0.1 / 3.5 + 0.01)


def test_every_unrounded_number_lies_in_the_interval() -> None:
    # The ends are reached, by the four corners of what was rounded.
    found = log_relative_cost(Rounded(81.9, 0.05), Rounded(4.12, 0.005), Rounded(77.8, 0.05))
    corners = [
        implied_relative_cost(81.9 + a, 4.12 + b, 77.8 + c)
        for a in (-0.05, 0.05)
        for b in (-0.005, 0.005)
        for c in (-0.05, 0.05)
    ]
    low, _, high = found.powers()
    assert (min(corners), max(corners)) == (pytest.approx(low), pytest.approx(high))


def test_meets() -> None:
    assert Rounded(1.0, 0.1).meets(1.1, 2.0)
    assert not Rounded(1.0, 0.1).meets(1.11, 2.0)


def test_lines_of_equal_value_rise_by_3_5_points_a_decade() -> None:
    assert score_at(0, 0, 77.8) == 77.8
    assert score_at(2, -1, 77.8) == pytest.approx(81.3)
    assert score_at(2, 0, 77.8) - score_at(2, -1, 77.8) == pytest.approx(3.5)


def test_a_lead_in_cost() -> None:
    assert worth_in_cost(3.5) == pytest.approx(10)
    assert worth_in_cost(6.2) == pytest.approx(59.1, abs=0.1)


def test_cost_of_a_corpus() -> None:
    assert corpus_cost_usd(3e9, 0.02) == pytest.approx(600)
    assert corpus_cost_usd(0, 0.02) == 0
    with pytest.raises(ValueError, match="number of tokens"):
        corpus_cost_usd(-1, 0.02)
    with pytest.raises(ValueError, match="above 0"):
        corpus_cost_usd(1, 0)
