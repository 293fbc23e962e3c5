"""Scores for a question and answer by rule of thumb: no language model.

For the demo and the tests. It sees whether the answer's words stand in the passage near the
question's, whether the question names what it is about, and whether it gives itself away. It knows
no astronomy: a wrong answer in the passage's own words passes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from core.llm.engine import GenerateRequest, Generation
from core.llm.rules_text import split_sentences

TOP = 5

MAX_QUESTION_CHARS = 300
MAX_ANSWER_CHARS = 1500

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*|\d[\d.,]*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STOP = _words(
    "a an the and or but nor of in on at by for from to with without about into onto over under "
    "between among through during before after than then that this these those it its they their "
    "he his she her who whom whose which what when where why how is are was were be been being do "
    "does did done has have had can could will would shall should may might must not no yes as so "
    "if because while also very more most much many few some any each every all both such only "
    "other another one ones same there here up out off we our us you your i my tell complete "
    "sentence fill blank words missing about around near far use used using since them"
)

_TEXT = re.compile(
    r"\b(?:the|this|these|our|their|its|that|present|current) "
    r"(?:paper|study|work|text|passage|article|authors?|section|document|analysis|sample|samples|"
    r"figure|table|experiment|simulations?|results?|survey|dataset|catalogue|catalog|method|model|"
    r"approach|researchers|team|scenario)\b"
    r"|\b(?:fig|figure|table|section|equation|eq|appendix)\.? ?\(?\d"
    r"|\b(?:we|our|us)\b|\b(?:(?:as|see|described|mentioned|shown) above|aforementioned)\b"
    r"|\b(?:according|stated|given|shown) (?:to|in|by) (?:the|this)\b",
    re.I,
)
_POINTING = re.compile(
    r"\b(?:it|they|them|he|she|him|this|these|those|such)\b|\b(?:its|their|his|her)\b", re.I
)
_BARE = re.compile(
    r"\b[Tt]he (?:first |last |other |second |third |two |three |four |same |new )*"
    r"(?:telescope|mission|spacecraft|probe|object|system|instrument|effect|law|laws|theory|kind|"
    r"kinds|scheme|idea|discovery|period|value|name|process|observations?|images?|stars?|planets?|"
    r"galax(?:y|ies)|moons?|comets?|clusters?|top|bottom|middle|disc|material|source)"
    r"(?=[?.,]| (?:is|are|was|were|has|have|had|lies?|do|does|did|will|can|made|called|published|"
    r"found|discovered|launched)\b|$)"
)
_GENERIC = _words(
    "star stars planet planets galaxy galaxies sky sea space moon object objects thing things "
    "telescope astronomy science body bodies light gas Yes No True False yes no"
)
_ABOUT_WRITING = re.compile(
    r"\b(?:title|author|spelled|capital letter|figure|symbol|abbreviation|section|paragraph|"
    r"reference list|how many words|colou?r of the (?:line|curve))\b",
    re.I,
)


@dataclass
class Judgement:
    """Scores from 1 to 5, each lowered by a reason."""

    correctness: int = TOP
    stand_alone: int = TOP
    pertinence: int = TOP
    reasons: list[str] = field(default_factory=list)

    @property
    def overall(self) -> int:
        """No better than the worst of the others."""
        return min(self.correctness, self.stand_alone, self.pertinence)

    def lower(self, criterion: str, score: int, reason: str) -> None:
        """Lowers a score, with the reason for it."""
        setattr(self, criterion, min(score, getattr(self, criterion)))
        self.reasons.append(reason)


def judge_pair(question: str, answer: str, passage: str = "") -> Judgement:
    """Scores a pair.

    Args:
        question: what is asked.
        answer: what is said to it.
        passage: what both were written from; without it, no fact is checked.
    """
    found = Judgement()
    if not answer.strip() or not question.strip():
        found.lower("correctness", 1, "question or answer is empty")
        return found
    if passage:
        _check_support(question, answer, passage, found)
    _check_alone(question, found)
    _check_worth(question, answer, found)
    return found


def _check_support(question: str, answer: str, passage: str, found: Judgement) -> None:
    said, asked = _content(answer), _content(question)
    have = _content(passage)
    missing = said - have
    if missing:
        share = 1 - len(missing) / len(said)
        score = 4 if share >= 0.9 else 3 if share >= 0.7 else 2 if share >= 0.4 else 1
        found.lower("correctness", score, f"not in the passage: {', '.join(sorted(missing)[:5])}")
    sentences = [_content(sentence) for sentence in split_sentences(passage)]
    # Two sentences in a row: the second may say "it" of what the first names.
    near = [one | two for one, two in zip(sentences, [*sentences[1:], set()], strict=True)]
    best = max((len(asked & words) for words in near if said & words), default=0)
    if asked and said and best * 3 < len(asked):
        found.lower("correctness", 2, "the answer does not stand near what is asked")


def _check_alone(question: str, found: Judgement) -> None:
    if leaning := _TEXT.search(question):
        found.lower("stand_alone", 1, f"leans on '{leaning.group().strip()}'")
    elif (pointing := _POINTING.search(question)) and len(
        _content(question[: pointing.start()])
    ) < 2:
        # After two words of substance it points to one of them.
        found.lower("stand_alone", 2, f"'{pointing.group()}' points to nothing")
    elif bare := _BARE.search(question):
        found.lower("stand_alone", 3, f"'{bare.group()}' could be any")


def _check_worth(question: str, answer: str, found: Judgement) -> None:
    said, asked = _content(answer), _content(question)
    if said and said <= asked:
        found.lower("pertinence", 1, "the question holds its answer")
    # As written: "Moon" is a name, "moon" is not.
    if {word.removesuffix(".") for word in _WORD.findall(answer)} <= _GENERIC | _STOP:
        found.lower("pertinence", 2, "the answer is a word for anything")
    if _ABOUT_WRITING.search(question):
        found.lower("pertinence", 2, "about how something is written")
    if not asked:
        found.lower("pertinence", 1, "the question names nothing")
    if len(question) > MAX_QUESTION_CHARS:
        found.lower("pertinence", 3, f"a question of {len(question)} characters")
    if len(answer) > MAX_ANSWER_CHARS:
        found.lower("pertinence", 3, f"an answer of {len(answer)} characters")


def _content(text: str) -> set[str]:
    """Returns the words that carry meaning, cut to a stem, and the numbers."""
    words = (word.strip(".,'-").lower() for word in _WORD.findall(text))
    return {_stem(word) for word in words if word and word not in _STOP}


def _stem(word: str) -> str:
    if word[0].isdigit():
        return word.replace(",", "")
    for end in ("ations", "ation", "ingly", "ings", "ing", "edly", "ed", "ies", "es", "ly", "s"):
        if word.endswith(end) and len(word) - len(end) >= 4:
            return word[: -len(end)].rstrip("ey")
    return word.rstrip("ey") if len(word) > 4 else word


def answer_judgement(request: GenerateRequest) -> Generation:
    """Answers a request for a judgement with the JSON of its schema.

    Args:
        request: ``inputs`` hold ``question``, ``answer`` and, if the judge sees it, ``passage``.
    """
    try:
        question, answer = request.inputs["question"], request.inputs["answer"]
    except KeyError as error:
        return Generation("", "error", error=f"bad inputs: {error!r}")
    found = judge_pair(question, answer, request.inputs.get("passage", ""))
    asked_why = "explanation" in (request.schema or {}).get("properties", {})
    value = {
        **({"explanation": "; ".join(found.reasons) or "no fault found"} if asked_why else {}),
        "correctness": found.correctness,
        "stand_alone": found.stand_alone,
        "pertinence": found.pertinence,
        "overall": found.overall,
    }
    return Generation(json.dumps(value, ensure_ascii=False, separators=(",", ":")), "stop")
