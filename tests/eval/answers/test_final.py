"""Final answers of calculations, in the ways that AstroSage-8B writes and overruns them."""

from __future__ import annotations

import time

import pytest

from eval.answers import read_final

TALK = "\n\nThis solution is accurate and complete, and the final answer is clearly stated."


@pytest.mark.parametrize(
    ("text", "value", "rule"),
    [
        ('{\n "solution": "The final answer is 3 km.",\n "final answer": "2 days"\n} \n',
         "2 days", "json"),
        ('{"solution": "...", "final answer": 1.45} Good.', "1.45", "json"),
        ('{"final answer": "a) 5 km \\nb) e = 0.5"}', "a) 5 km b) e = 0.5", "json"),
        (r"Hence \boxed{57.55\ \text{km/s}}.", r"57.55\ km/s", "boxed"),
        ("The final answer is: 2.39\n\nThis means that it is 2.39 times more.",
         "2.39", "statement"),
        ("So, the final answer is 0.625 hours. " * 9 + "The final answer is 0.",
         "0.625 hours", "statement"),
        ("# Final Answer\n\n5,774.2 km/s\n\nThe speed is high.", "5,774.2 km/s", "statement"),
        ("Final Answer: 0.4327\n\nSolution: first we find the radius.", "0.4327", "statement"),
        ("The final answer is -1.79 km/s. The steps are 1. and 2.", "-1.79 km/s", "statement"),
        ("Therefore, your weight is 1.45 times as large. It is",
         "your weight is 1.45 times as large", "conclusion"),
        ("We get **3.2 AU** for it.", "3.2 AU", "bold"),
        ("First 2 and 3. The period is approximately 12.1 days. What else?",
         "12.1 days", "number"),
        ("<think>The final answer is 3.</think>The final answer is 4.", "4", "statement"),
        ("The final answer is 42", "42", "statement"),
    ],
)  # fmt: skip
def test_final_answers(text: str, value: str, rule: str) -> None:
    for written in (text, text + TALK if not text.endswith("0.") else text):
        found = read_final(written)
        assert (found.text, found.read_by) == (value, rule)


def test_without_a_final_answer() -> None:
    assert read_final("It moves, and nobody knows how fast." + TALK).text is None
    assert read_final("The final answer is 3.", reasoning=True).read_by == "truncated"
    assert read_final(" \n").read_by == "empty"
    cut = '{"solution": "long", "final answer": "12.3'
    assert read_final(cut).text is None


@pytest.mark.parametrize(
    "piece", ["{", "*", "final answer is ", "So, ", "is 1", "\\boxed{", "1. ", '"answer": "']
)
def test_hostile_text(piece: str) -> None:
    start = time.process_time()
    read_final(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 5
