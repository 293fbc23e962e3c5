"""What is a verdict and what is not: a number must never be guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synth.judge.verdict import (
    CRITERIA,
    VerdictError,
    parse_completion,
    parse_rating,
    parse_schema,
)

GOOD = {"correctness": 5, "stand_alone": 4, "pertinence": 3, "overall": 2}


@pytest.mark.parametrize(
    "text",
    [
        "5,4,3,2]",
        "5, 4, 3, 2]",
        " 5 , 4 , 3 , 2 ]",
        "\n5,4,3,2]",
        "5,4,3,2] because the answer is short.",
        "5, 4, 3, 2]\nExplanation: right.",
        "5,4,3,2]]",
    ],
)
def test_completions_that_are_verdicts(text: str) -> None:
    verdict = parse_completion(text)
    assert verdict.scores == GOOD
    assert [text[slice(*verdict.spans[name])] for name in CRITERIA] == ["5", "4", "3", "2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "]",
        "5, 5",
        "5, 5, 5",
        "5, 5, 5, 5",
        "5, 5, 5, 5\n",
        "5, 5, 5]",
        "5, 5, 5, 5, 5]",
        "6, 5, 5, 5]",
        "5, 5, 5, 6]",
        "0, 5, 5, 5]",
        "-5, 5, 5, 5]",
        "+5, 5, 5, 5]",
        "05, 5, 5, 5]",
        "55, 5, 5, 5]",
        "5.0, 5, 5, 5]",
        "4.5, 5, 5, 5]",
        "5, 5, 5, 4.5]",
        "5 5 5 5]",
        "5; 5; 5; 5]",
        "5/5, 5/5, 5/5, 5/5]",
        "five, five, five, five]",
        "\u0665, 5, 5, 5]",
        "\uff15, 5, 5, 5]",
        "The scores are [5, 5, 5, 5]",
        "[5, 5, 5, 5]",
        "N/A]\nQuestion: What?\nAnswer: That.\nScore: [5, 5, 5, 5]",
        "5, 5, 5, " + "5" * 10_000 + "]",
        "null, 5, 5, 5]",
        "True, 5, 5, 5]",
    ],
)
def test_completions_that_are_none(text: str) -> None:
    with pytest.raises(VerdictError):
        parse_completion(text)


def test_a_verdict_under_a_schema() -> None:
    text = json.dumps({"explanation": 'It says {"overall": 1}.', **GOOD})
    verdict = parse_schema(text)
    assert verdict.scores == GOOD
    assert [text[slice(*verdict.spans[name])] for name in CRITERIA] == ["5", "4", "3", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {"overall": None},
        {"overall": 6},
        {"overall": 0},
        {"overall": -1},
        {"overall": 5.0},
        {"overall": 4.5},
        {"overall": "5"},
        {"overall": True},
        {"overall": [5]},
        {"overall": {"score": 5}},
        {"overall": 10**400},
    ],
)
def test_a_schema_with_another_value_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(VerdictError, match=r"overall|integer"):
        parse_schema(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "null",
        "[5, 5, 5, 5]",
        "{}",
        json.dumps({k: v for k, v in GOOD.items() if k != "pertinence"}),
        json.dumps(GOOD)[:-3],
        "Sure! " + json.dumps(GOOD),
        "```json\n" + json.dumps(GOOD) + "\n```",
        json.dumps(GOOD)[:-1] + ', "overall": 5}',
        json.dumps(GOOD).replace("2", "NaN"),
        json.dumps(GOOD).replace("overall", "over\\u0061ll"),
        "[" * 100_000,
        '{"correctness": ' + "1" * 5000 + "}",
    ],
)
def test_texts_that_are_no_verdict_under_a_schema(text: str) -> None:
    with pytest.raises(VerdictError):
        parse_schema(text)


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("[[7]]", 7),
        ("The answer is right but short.\n\nRating: [[7]]", 7),
        ("Rating: [[ 10 ]].", 10),
        ("I give [[3]]. Rating: [[3]]", 3),
    ],
)
def test_ratings(text: str, rating: int) -> None:
    verdict = parse_rating(text, 10)
    assert verdict.scores == {"overall": rating}
    assert text[slice(*verdict.spans["overall"])] == str(rating)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Rating: 7",
        "Rating: [7]",
        "[[]]",
        "[[7.5]]",
        "[[7.0]]",
        "[[7/10]]",
        "[[11]]",
        "[[0]]",
        "[[-7]]",
        "[[07]]",
        "[[rating]]",
        "[[A]]",
        "[[7",
        "First [[2]], on second thought [[9]]",
        "[[" + "9" * 10_000 + "]]",
        # In proportion to its length, or it would take minutes.
        "[[1" * 100_000,
    ],
)
def test_texts_that_are_no_rating(text: str) -> None:
    with pytest.raises(VerdictError):
        parse_rating(text, 10)
