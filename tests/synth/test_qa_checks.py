"""What makes a pair unfit: one small case per reason, and what must not be rejected."""

from __future__ import annotations

from typing import Any

import pytest

from core.recipe.qa import Qa
from core.rejects import Reason
from synth.qa_checks import Fault, PassageWords, find_fault
from synth.qa_leaning import leaning
from synth.qa_prompt import Passage

TEXT = (
    "Jupiter is the largest planet. Its mass is 318 Earth masses, more than twice that of all "
    "other planets together. The Great Red Spot is a storm that has been seen since 1831 at least, "
    "wider than the Earth, and slowly shrinking; nobody knows for sure what keeps it alive or "
    "what gives it its red colour. Who was it that saw the Great Red Spot for the first time?"
)
PASSAGE = Passage("a:1", "A Survey of the Giant Planets", 0, len(TEXT), TEXT)
QUESTION = "Which planet of the Solar System is the largest?"


def fault(pair: Any, **changes: Any) -> Fault | None:
    qa = Qa.model_validate({"engine": {"kind": "rules"}, **changes})
    return find_fault(pair, PASSAGE, PassageWords(TEXT, qa.copy_words), qa)


def pair(question: str = QUESTION, answer: str = "Jupiter.") -> dict[str, str]:
    return {"question": question, "answer": answer}


def test_a_good_pair_has_no_fault() -> None:
    assert fault(pair()) is None
    assert fault(pair(answer="317.8 Earth masses, that is $1.9 \\times 10^{27}$ kg.")) is None


LONG = " ".join(TEXT.split()[5:60])


@pytest.mark.parametrize(
    ("found", "reason", "detail"),
    [
        ("text", Reason.INVALID_PAIR, "not an object"),
        (None, Reason.INVALID_PAIR, "not an object"),
        ([pair()], Reason.INVALID_PAIR, "not an object"),
        ({}, Reason.INVALID_PAIR, "question or answer is not text"),
        ({"question": QUESTION}, Reason.INVALID_PAIR, "question or answer is not text"),
        ({**pair(), "answer": 5}, Reason.INVALID_PAIR, "question or answer is not text"),
        ({**pair(), "question": [QUESTION]}, Reason.INVALID_PAIR, "is not text"),
        (pair(question=" \n"), Reason.INVALID_PAIR, "the question is empty"),
        (pair(answer=""), Reason.INVALID_PAIR, "the answer is empty"),
        (pair("Which \ud83d is the largest?"), Reason.INVALID_PAIR, "half of a surrogate pair"),
        (pair(answer="\udc00"), Reason.INVALID_PAIR, "half of a surrogate pair"),
        (pair(answer="Jupi\x00ter"), Reason.INVALID_PAIR, "a control character"),
        (pair("Sidereal time"), Reason.INVALID_PAIR, "2 words that ask nothing"),
        (pair("Which?"), Reason.TOO_SHORT, "question of 6 characters, at least 10"),
        (pair("Which " * 100), Reason.TOO_LONG, "question of 599 characters, at most 500"),
        (pair(answer="x" * 2001), Reason.TOO_LONG, "answer of 2001 characters, at most 2000"),
        (
            pair("What does the paper find?"),
            Reason.LEANS_ON_SOURCE,
            "question leans on 'the paper'",
        ),
        (pair(answer="As Figure 3 shows."), Reason.LEANS_ON_SOURCE, "answer leans on 'Figure 3'"),
        (pair(answer=f" {TEXT}\n"), Reason.COPIED_PASSAGE, "the answer is the whole passage"),
        (pair(answer=LONG), Reason.COPIED_PASSAGE, "100% of the answer is copied"),
        (
            pair("who was it that saw the great red spot, for the first time"),
            Reason.COPIED_PASSAGE,
            "the question is the passage's",
        ),
        (
            pair("Welcher Planet des Sonnensystems ist der gr\u00f6\u00dfte von allen?"),
            Reason.WRONG_LANGUAGE,
            "the question is 'de'",
        ),
        (
            pair(answer="\u6728\u661f\u662f\u592a\u9633\u7cfb\u4e2d\u6700\u5927\u7684\u884c\u661f"),
            Reason.WRONG_LANGUAGE,
            "the answer is 'zh'",
        ),
    ],
)
def test_faults(found: Any, reason: Reason, detail: str) -> None:
    told = fault(found)
    assert told is not None
    assert told.reason is reason
    assert detail in told.detail


def test_limits_are_the_recipes() -> None:
    assert fault(pair("Which?"), min_question_chars=3) is None
    assert fault(pair(), max_answer_chars=3) is not None
    assert fault(pair(answer="5"), min_answer_chars=2) is not None
    assert fault(pair(answer=LONG), copy_min_words=56) is None
    german = pair("Welcher Planet ist der gr\u00f6\u00dfte?", "Der Jupiter ist es.")
    assert fault(german, language="de") is None
    assert fault(german, language=None) is None
    assert fault(german, language="en") is not None


@pytest.mark.parametrize(
    "good",
    [
        # A sentence is a right answer; a sentence with a gap is meant to be the passage's.
        pair(answer=". ".join(TEXT.split(". ")[:2]) + "."),
        pair("Complete the sentence: The Great Red Spot is a storm that has been seen since ___."),
        # A retold passage shares names and short phrases with it.
        pair(answer="The Great Red Spot, seen since 1831, is wider than the Earth. " * 6),
        pair("Brief description of tidal distortion"),
        pair("Derive Kepler's law."),
        # Names and formulas are of no language.
        pair(answer="Nep\u014dhualtzintzin"),
        pair(answer="M31"),
        pair(answer="$$E = mc^2$$"),
        pair("What is the Greek word \u1f00\u03bc\u03c6\u03af\u03b2\u03b9\u03bf\u03c2 about?"),
    ],
)
def test_what_must_not_be_rejected(good: dict[str, str]) -> None:
    assert fault(good) is None


def test_copied_share_counts_words_in_copied_runs() -> None:
    words = PassageWords("a b c d e f g h", 3)
    assert words.copied_share("a b c x y z") == 0.5
    assert words.copied_share("A, b; C") == 1.0
    assert words.copied_share("a b x c d") == 0.0
    assert words.copied_share("") == 0.0


# --- Leaning on a source


@pytest.mark.parametrize(
    "text",
    [
        "What does the paper conclude?",
        "Who wrote This Study?",
        "What did the authors observe?",
        "According to the passage, what is a nova?",
        "What is the main result of the present work?",
        "What is found in this work about flares?",
        "What does this section discuss?",
        "What is this study of M31 about?",
        "Which value is given in Table 2?",
        "It rises as shown in Fig. 3.",
        "It follows from Eq. (4).",
        "See Section 2.1 for details.",
        "It is in Appendix B.",
        "It is given in \u00a73.",
        "The method described above is used.",
        "It follows from the above equation.",
        "As mentioned earlier, it is described earlier.",
        "Our sample holds 30 stars.",
        "We performed simulations of it.",
        "In 2019 the study was done.",
        "Which of the following is a planet?",
    ],
)
def test_what_leans_on_a_source(text: str) -> None:
    assert leaning(text)


@pytest.mark.parametrize(
    "text",
    [
        "Which text editor is used?",
        "What is thematic mapping?",
        "Who published the papers?",
        "What did Hubble (1929) find in the paper on redshifts?",
        "What does the paper by Riess et al. report?",
        "What is in the study by the Planck Collaboration?",
        "Who is the author of the Almagest?",
        "What is asteroseismology, the study of oscillating stars?",
        "What does the passage of a star through the cloud do?",
        'What does the article "On the Electrodynamics of Moving Bodies" begin with?',
        "What does Figure 4 of Perlmutter et al. (1999) show?",
        "Which survey does the paper arXiv:2107.08293 use?",
        "What does the paper A Survey of the Giant Planets cover?",
        "What does the analemma look like? A figure 8 pattern.",
        "The Sun is above the horizon, our Galaxy is a spiral, and we measure distances.",
        "How does this work?",
        "It has to do with work done by the gas.",
        "Which of the following is a planet: Ceres or Mars?",
        "Chapters of its history",
        "Table salt is NaCl.",
    ],
)
def test_what_does_not_lean_on_a_source(text: str) -> None:
    assert leaning(text, PASSAGE.title) is None
