"""Checks of one question-answer pair: what makes it unfit for training, told by rules.

What rules cannot tell (is it correct? is it worth asking?) is left to the judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.language import is_language, likely_language
from core.recipe.qa import Qa
from core.rejects import Reason
from synth.qa_leaning import leaning
from synth.qa_prompt import Passage

MIN_COPIED_QUESTION_WORDS = 8
"""A shorter question may stand in the passage too: headings ask "What is a black hole?"."""

MIN_TASK_WORDS = 4
"""Fewer English words that neither ask nor tell to do something are a term."""

MIN_LANGUAGE_BYTES = 30
"""A shorter text (in UTF-8: ten Chinese characters) is a name or a date and of no language."""
PLAIN_LANGUAGE_BYTES, SURE_LANGUAGE = 60, 0.75
"""A text shorter than that is in a wrong language only where it is as good as sure."""

# All but tab and line feed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_WORD = re.compile(r"\w+")
# A mark, a gap, a question word or a task.
_ASKS = re.compile(
    r"[?\uff1f\u061f\u037e]|_{2,}"
    r"|\b(?:explain|describe|define|discuss|compare|contrast|derive|calculate|compute|estimate|list"
    r"|name|give|outline|summari[sz]e|state|identify|suggest|show|prove|evaluate|complete|tell|write"
    r"|determine|distinguish|justify|interpret|sketch|assess|analy[sz]e|consider|provide|find"
    r"|what|why|how|which|who|whom|whose|when|where|whether)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a pair."""

    reason: Reason
    detail: str


class PassageWords:
    """The runs of words of a passage, to find what is copied from it."""

    def __init__(self, passage: str, run_words: int) -> None:
        """Reads a passage.

        Args:
            passage: its text.
            run_words: words in a row that count as copied.
        """
        self._run_words = run_words
        words = _words(passage)
        self._runs = set(_runs(words, run_words))
        self._line = f" {' '.join(words)} "

    def hold(self, words: Sequence[str]) -> bool:
        """Tells whether words stand in the passage one after another."""
        return f" {' '.join(words)} " in self._line

    def copied_share(self, text: str) -> float:
        """Returns the share of a text's words that stand in a run copied from the passage."""
        words = _words(text)
        copied = [False] * len(words)
        for start, run in enumerate(_runs(words, self._run_words)):
            if run in self._runs:
                copied[start : start + self._run_words] = [True] * self._run_words
        return sum(copied) / len(words) if words else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[n : n + length]) for n in range(len(words) - length + 1)]


def find_fault(pair: Any, passage: Passage, words: PassageWords, qa: Qa) -> Fault | None:
    """Returns what is wrong with a pair, or None.

    Args:
        pair: the JSON value that a model wrote.
        passage: what it was asked about.
        words: of the passage.
        qa: the limits.
    """
    if not isinstance(pair, dict):
        return Fault(Reason.INVALID_PAIR, "not an object")
    question, answer = pair.get("question"), pair.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        return Fault(Reason.INVALID_PAIR, "question or answer is not text")
    return (
        _character_fault(question + answer)
        or _length_fault("question", question, qa.min_question_chars, qa.max_question_chars)
        or _length_fault("answer", answer, qa.min_answer_chars, qa.max_answer_chars)
        or _form_fault(question, qa.language)
        or _leaning_fault(question, answer, passage.title)
        or _copy_fault(question, answer, passage, words, qa)
        or _language_fault(question, answer, qa.language)
    )


def _character_fault(both: str) -> Fault | None:
    if any("\ud800" <= c <= "\udfff" for c in both):
        detail = "half of a surrogate pair, which no UTF-8 text can hold"
        return Fault(Reason.INVALID_PAIR, detail)
    if _CONTROL.search(both):
        return Fault(Reason.INVALID_PAIR, "a control character in question or answer")
    return None


def _length_fault(name: str, text: str, shortest: int, longest: int) -> Fault | None:
    length = len(text.strip())
    if not length:
        return Fault(Reason.INVALID_PAIR, f"the {name} is empty")
    if length < shortest:
        return Fault(Reason.TOO_SHORT, f"{name} of {length} characters, at least {shortest}")
    if length > longest:
        return Fault(Reason.TOO_LONG, f"{name} of {length} characters, at most {longest}")
    return None


def _leaning_fault(question: str, answer: str, title: str) -> Fault | None:
    for name, text in (("question", question), ("answer", answer)):
        if words := leaning(text, title):
            return Fault(Reason.LEANS_ON_SOURCE, f"the {name} leans on '{words}'")
    return None


def _copy_fault(
    question: str, answer: str, passage: Passage, words: PassageWords, qa: Qa
) -> Fault | None:
    if answer.strip() == passage.text.strip():
        return Fault(Reason.COPIED_PASSAGE, "the answer is the whole passage")
    asked = _words(question)
    if len(asked) >= MIN_COPIED_QUESTION_WORDS and words.hold(asked):
        return Fault(Reason.COPIED_PASSAGE, "the question is the passage's")
    if len(_words(answer)) < qa.copy_min_words:
        return None
    share = words.copied_share(answer)
    if share <= qa.max_copied_share:
        return None
    return Fault(Reason.COPIED_PASSAGE, f"{share:.0%} of the answer is copied")


def _language_fault(question: str, answer: str, language: str | None) -> Fault | None:
    if language is None:
        return None
    for name, text in (("question", question), ("answer", answer)):
        size = len(text.encode())
        if size < MIN_LANGUAGE_BYTES or is_language(text, language) is not False:
            continue
        found, probability = likely_language(text)
        if size >= PLAIN_LANGUAGE_BYTES or probability >= SURE_LANGUAGE:
            return Fault(Reason.WRONG_LANGUAGE, f"the {name} is '{found}' ({probability:.0%})")
    return None


def _form_fault(question: str, language: str | None) -> Fault | None:
    # Tasks take many forms ("Brief description of tidal distortion"); a bare term is none.
    words = len(_words(question))
    if language == "en" and words < MIN_TASK_WORDS and not _ASKS.search(question):
        return Fault(Reason.INVALID_PAIR, f"{words} words that ask nothing")
    return None
