"""The rules engine as a judge: one small pair per rule."""

from __future__ import annotations

import json

import pytest

from core.llm import GenerateRequest, open_engine
from core.llm.rules_judge import judge_pair
from core.llm.rules_qa import make_pairs
from core.recipe.engine import Engine as EngineConfig

PASSAGE = (
    "Jupiter is the largest planet in the Solar System. Its four largest moons were discovered by "
    "Galileo Galilei in 1610.\n\nSaturn has rings of water ice. Christiaan Huygens described them "
    "in 1659."
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which planet is the largest in the Solar System?", "Jupiter"),
        ("Who discovered the four largest moons of Jupiter?", "Galileo Galilei"),
        ("What are the rings of Saturn made of?", "Water ice."),
        (
            "When were the four largest moons of Jupiter discovered?",
            "They were discovered in 1610.",
        ),
        ("Who discovered the largest moons of Jupiter, and were they four?", "Galileo Galilei"),
        ("Which planet has rings of ice, and who described its rings?", "Saturn, and Huygens."),
    ],
)
def test_good_pairs_are_perfect(question: str, answer: str) -> None:
    found = judge_pair(question, answer, PASSAGE)
    assert (found.overall, found.reasons) == (5, [])


@pytest.mark.parametrize(
    ("question", "answer", "criterion"),
    [
        ("Who discovered the four largest moons of Jupiter?", "Isaac Newton", "correctness"),
        ("When were the moons of Jupiter discovered?", "In 1810", "correctness"),
        ("When were the four largest moons of Jupiter discovered?", "1659", "correctness"),
        ("What does the paper say about Jupiter?", "largest planet", "stand_alone"),
        ("What did we learn about Jupiter?", "largest planet", "stand_alone"),
        ("What is shown in Figure 3 of Jupiter?", "largest planet", "stand_alone"),
        ("When did he discover them?", "1610", "stand_alone"),
        ("Who saw the moons?", "Galileo Galilei", "stand_alone"),
        ("Which planet is Jupiter?", "Jupiter", "pertinence"),
        ("Is Jupiter the largest planet?", "Yes", "pertinence"),
        ("What is the title of the text about Jupiter?", "Solar System", "pertinence"),
        ("Why is it so?", "Jupiter", "pertinence"),
        ("Jupiter " * 50 + "?", "Saturn", "pertinence"),
        ("", "Jupiter", "correctness"),
        ("Why Jupiter?", " ", "correctness"),
    ],
)
def test_faults_are_named(question: str, answer: str, criterion: str) -> None:
    found = judge_pair(question, answer, PASSAGE)
    assert getattr(found, criterion) < 5
    assert found.overall <= getattr(found, criterion)
    assert found.reasons


def test_without_a_passage_no_fact_is_checked() -> None:
    assert judge_pair("Who discovered the moons of Jupiter?", "Isaac Newton").overall == 5


def test_its_own_pairs_stay() -> None:
    pairs = make_pairs(PASSAGE, 20, seed=1)
    kept = [p for p in pairs if judge_pair(p.question, p.answer, PASSAGE).overall == 5]
    assert len(pairs) > 4
    assert len(kept) / len(pairs) > 0.7


def test_the_engine_answers_in_json() -> None:
    engine = open_engine(EngineConfig(kind="rules"))
    inputs = {"question": "What does the paper say?", "answer": "x", "passage": ""}
    plain = GenerateRequest(task="judge", inputs=inputs)
    why = GenerateRequest(task="judge", inputs=inputs, schema={"properties": {"explanation": {}}})
    one, two, bad = engine.generate([plain, why, GenerateRequest(task="judge")])
    assert json.loads(one.text)["stand_alone"] == 1
    assert next(iter(json.loads(two.text))) == "explanation"
    assert "bad inputs" in str(bad.error)


@pytest.mark.parametrize("text", ["", "?" * 5000, "\x00", "=1+1", "a" * 100_000, "'" * 1000])
def test_odd_texts_are_judged(text: str) -> None:
    assert 1 <= judge_pair(text, text, text).overall <= 5
