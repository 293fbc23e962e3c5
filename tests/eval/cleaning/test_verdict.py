"""Verdicts on questions, and what speaks against a rewritten one."""

from __future__ import annotations

import json

import pytest

from core.llm import Generation
from core.llm.rules_questions import reference_in, without_reference
from core.recipe.cleaning import Cleaning
from eval.cleaning.verdict import VerdictError, doubts, read_verdict

ASKED = "According to the authors, what heats the 3 coronae seen by Chandra (2004)?"
SECTION = Cleaning.model_validate({"engine": {"kind": "rules"}, "path": "q.csv"})


def answer(**values: object) -> Generation:
    return Generation(
        json.dumps({"reason": "so", "verdict": "keep", "question": "x", **values}), ""
    )


def test_verdicts() -> None:
    kept = read_verdict(answer(), ASKED)
    assert (kept.kind, kept.reason, kept.question) == ("keep", "so", ASKED)
    assert read_verdict(answer(verdict="remove"), ASKED).kind == "remove"
    rewritten = read_verdict(answer(verdict="rewrite", question=" What heats them? "), ASKED)
    assert (rewritten.kind, rewritten.question) == ("rewrite", "What heats them?")
    fenced = Generation(f"```json\n{answer().text}\n```", "stop")
    assert read_verdict(fenced, ASKED).kind == "keep"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Generation("", "error", error="the server is away"), "server is away"),
        (Generation('{"verdict": "keep", "rea', "length"), "finish reason length"),
        (Generation("[1]", "stop"), "not a JSON object"),
        (answer(verdict="Maybe"), "'Maybe', not one of"),
        (answer(verdict=["keep"]), "not one of"),
        (answer(reason=None), "no 'reason'"),
        (answer(verdict="rewrite", question=" "), "no 'question'"),
        (answer(verdict="rewrite", question=f" {ASKED}"), "the same"),
    ],
)
def test_what_is_no_verdict(given: Generation, message: str) -> None:
    with pytest.raises(VerdictError, match=message):
        read_verdict(given, ASKED)


@pytest.mark.parametrize(
    ("rewritten", "found"),
    [
        ("What heats the 3 coronae seen by Chandra (2004)?", []),
        ("What heats the 3 coronae seen by Chandra?", []),
        ("What heats the 5 coronae seen by Chandra?", ["numbers"]),
        ("What heats the coronae seen by Chandra?", ["numbers"]),
        ("What are the 3?", ["dropped"]),
        ("What heats the 3 coronae seen by Chandra through magnetic reconnection in loops?",
         ["new words"]),
        ("What heats the 3 coronae seen by Chandra and Hubble?", ["new name"]),
        ("What heats the 3 coronae seen by Chandra in this paper?", ["still refers"]),
        ("Chandra saw what heats the 3 coronae.", ["no question"]),
    ],
)  # fmt: skip
def test_doubts_about_a_rewritten_question(rewritten: str, found: list[str]) -> None:
    assert doubts(ASKED, rewritten, SECTION) == found


@pytest.mark.parametrize(
    "question",
    [
        "What do the authors conclude about dust?",
        "In this study, which sample was used?",
        "What does Figure 3 show about the disk?",
        "What does the passage mean by dust?",
        "How large is the sample described above?",
        "What is the main result of the review article?",
    ],
)
def test_rules_see_what_leans_on_a_paper(question: str) -> None:
    assert reference_in(question)


@pytest.mark.parametrize(
    "question",
    [
        "Which figure of merit do surveys use?",
        "What did the Sloan Digital Sky Survey measure?",
        "How does the study of interstellar objects help us to understand our Solar System?",
        "What works against gravity in a star?",
        "Which mysterious passage joins two black holes?",
        "In which equation of state is pressure zero?",
    ],
)
def test_rules_leave_general_questions(question: str) -> None:
    assert reference_in(question) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("According to the review, what heats coronae?", "What heats coronae?"),
        ("What heats coronae, as described in the text?", "What heats coronae?"),
        ("What heats coronae in this paper?", "What heats coronae?"),
        ("What does this paper say?", "What does this paper say?"),
    ],
)
def test_rules_take_out_references(question: str, expected: str) -> None:
    assert without_reference(question) == expected
