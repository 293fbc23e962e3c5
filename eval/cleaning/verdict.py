"""Reading a verdict on a question, and what speaks against using a rewritten one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from core.llm import Generation
from core.llm.rules_questions import reference_in
from core.recipe.cleaning import Cleaning

Kind = Literal["keep", "remove", "rewrite"]
KINDS = get_args(Kind)

_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_YEAR = re.compile(r"(?:19|20)\d\d")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an the and or but of in on at by for from to with without as is are was were be been "
        "being do does did has have had can could will would shall should may might must not that "
        "this these those it its their which what when where why how who whom whose if than then "
        "there here so such according based discussed described mentioned following",
    )
)
"""Words that say nothing of what a question is about."""


class VerdictError(ValueError):
    """A text that is no verdict; says why."""


@dataclass(frozen=True)
class Verdict:
    """What the model says about a question.

    Args:
        kind: ``keep``, ``remove`` or ``rewrite``.
        reason: why, in its words.
        question: as it should read; the original unless it is to be rewritten.
    """

    kind: Kind
    reason: str
    question: str


def read_verdict(answer: Generation, original: str) -> Verdict:
    """Reads a model's answer.

    Raises:
        VerdictError: it is no verdict; says why.
    """
    if answer.error is not None:
        raise VerdictError(answer.error)
    try:
        value = json.loads(_unfenced(answer.text), strict=False)
    except (ValueError, RecursionError) as error:
        raise VerdictError(f"not JSON: {error} (finish reason {answer.finish_reason})") from error
    if not isinstance(value, dict):
        raise VerdictError("not a JSON object")
    kind, reason = value.get("verdict"), value.get("reason")
    if kind not in KINDS:
        raise VerdictError(f"'verdict' is {str(kind)[:40]!r}, not one of {', '.join(KINDS)}")
    if not isinstance(reason, str):
        raise VerdictError("no 'reason'")
    if kind != "rewrite":
        return Verdict(cast(Kind, kind), reason.strip(), original)
    question = value.get("question")
    if not isinstance(question, str) or not question.strip():
        raise VerdictError("to be rewritten, but there is no 'question'")
    if " ".join(question.split()) == " ".join(original.split()):
        raise VerdictError("to be rewritten, but the question is the same")
    return Verdict("rewrite", reason.strip(), question.strip())


def doubts(original: str, rewritten: str, section: Cleaning) -> list[str]:
    """Returns what speaks against a rewritten question; a person has to look where anything does.

    Args:
        original: the question as it was.
        rewritten: as the model writes it.
        section: the limits.

    Returns:
        Of ``numbers`` (one is new, or one is gone that is no year of a citation), ``dropped``,
        ``new words``, ``new name``, ``still refers`` and ``no question``; empty: none.
    """
    found = []
    before, after = set(_NUMBER.findall(original)), set(_NUMBER.findall(rewritten))
    gone = {number for number in before - after if not _YEAR.fullmatch(number)}
    if after - before or gone:
        found.append("numbers")
    words, kept = _words(original), _words(rewritten)
    if len(words & kept) < section.min_kept_words * len(words):
        found.append("dropped")
    new = kept - words
    if len(new) > section.max_new_words:
        found.append("new words")
    if any(word.lower() in new and word[0].isupper() for word in _WORD.findall(rewritten)[1:]):
        found.append("new name")
    if reference_in(rewritten) is not None:
        found.append("still refers")
    if original.rstrip().endswith("?") and not rewritten.rstrip().endswith("?"):
        found.append("no question")
    return found


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _COMMON


def _unfenced(text: str) -> str:
    found = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n```\s*", text, re.DOTALL)
    return found[1] if found else text
