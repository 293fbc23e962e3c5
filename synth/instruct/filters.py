"""Which conversations of an instruction set stay, as its recipe says.

Each filter names what it found, so that a threshold or a keyword can be judged by its rejects. The
first one that finds something decides; the dearest come last.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from core.language import is_language, likely_language
from core.recipe.instruct import InstructSet
from core.rejects import Reason
from synth.instruct.claims import identity_claim, refusal
from synth.instruct.formats import Dialogue
from synth.instruct.records import RecordError

Filter = Callable[[Dialogue], RecordError | None]


def alphanumeric_share(text: str) -> float:
    """Returns the share of letters and digits (of any script) among a text's characters.

    White space counts as a character, as in AstroMLab 3's "at least 70% alphanumeric characters":
    English prose has about 0.8.
    """
    return sum(map(str.isalnum, text)) / len(text) if text else 0.0


def make_filters(section: InstructSet) -> list[Filter]:
    """Returns the filters that a set's recipe asks for, the cheapest first."""
    filters: list[Filter] = []
    if section.max_chars is not None:
        filters.append(_length(section.max_chars))
    if section.drop_keywords:
        filters.append(_keywords(section.drop_keywords))
    if section.min_alphanumeric_share is not None:
        filters.append(_alphanumeric(section.min_alphanumeric_share))
    if section.drop_refusals:
        filters.append(_answers(refusal, Reason.REFUSAL))
    if section.drop_identity:
        filters.append(_answers(identity_claim, Reason.IDENTITY_CLAIM))
    if section.language is not None:
        filters.append(_language(section.language))
    return filters


def _spoken(dialogue: Dialogue) -> str:
    """Questions and answers; a system prompt repeats and would drown them."""
    return "\n\n".join(t["content"] for t in dialogue.turns if t["role"] != "system")


def _length(most_chars: int) -> Filter:
    def check(dialogue: Dialogue) -> RecordError | None:
        chars = sum(len(turn["content"]) for turn in dialogue.turns)
        if chars <= most_chars:
            return None
        return RecordError(Reason.TOO_LONG, f"{chars} characters, at most {most_chars}")

    return check


def _alphanumeric(least: float) -> Filter:
    def check(dialogue: Dialogue) -> RecordError | None:
        share = alphanumeric_share(_spoken(dialogue))
        if share >= least:
            return None
        return RecordError(Reason.LOW_ALPHANUMERIC, f"{share:.3f} alphanumeric, at least {least:g}")

    return check


def _whole_word(word: str) -> str:
    # A boundary only where the keyword ends in a letter: "C++" has none behind it.
    before = r"(?<!\w)" if word[0].isalnum() else ""
    after = r"(?!\w)" if word[-1].isalnum() else ""
    return before + re.escape(word) + after


def _keywords(words: list[str]) -> Filter:
    parts = [_whole_word(word) for word in sorted(set(words) - {""}, key=lambda w: (-len(w), w))]
    pattern = re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)

    def check(dialogue: Dialogue) -> RecordError | None:
        for number, turn in enumerate(dialogue.turns):
            if found := pattern.search(turn["content"]):
                return RecordError(Reason.KEYWORD, f"turn {number}: {found.group()!r}")
        return None

    return check


def _answers(claim: Callable[[str], str | None], reason: Reason) -> Filter:
    def check(dialogue: Dialogue) -> RecordError | None:
        for number, turn in enumerate(dialogue.turns):
            if turn["role"] == "assistant" and (found := claim(turn["content"])):
                return RecordError(reason, f"turn {number}: {found!r}")
        return None

    return check


def _language(language: str) -> Filter:
    def check(dialogue: Dialogue) -> RecordError | None:
        # Question and answer together: "translate this into Spanish" is an English record.
        text = _spoken(dialogue)
        if is_language(text, language) is not False:
            return None
        found, probability = likely_language(text)
        return RecordError(Reason.WRONG_LANGUAGE, f"{found}, probability {probability:.2f}")

    return check
