"""What a model wrote, as a summary: read, and checked before anything is trained on it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from core.llm import Generation
from core.minhash.shingles import shingle_hashes
from core.recipe.summaries import Summaries
from core.rejects import Reason

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

# Of a paper one may say "this paper"; of a piece of it, nobody who asks for the paper knows.
_PIECE = re.compile(
    r"\b(?:this|the (?:above|following|given|provided)) "
    r"(?:passage|chunk|excerpt|fragment|snippet|text|summar(?:y|ies)|part of the (?:text|paper))\b"
    r"|\bpart \d+ of \d+\b|\b(?:partial|part|individual) summaries\b|\bsummaries of the parts\b",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"\A\W*(?:sure\b|certainly\b|of course\b|here(?: i|')s (?:a|the|my)\b|as an ai\b|"
    r"i(?:'m| am) sorry\b|i can(?:no|')t\b)",
    re.IGNORECASE,
)


class NotUsedError(Exception):
    """An answer that is no summary.

    Args:
        reason: of the reject.
        detail: the particulars.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def schema(section: Summaries, short: bool) -> dict[str, Any]:
    """Returns the JSON Schema of an answer, with or without the short version.

    Lengths are bounded, so that a model that will not stop cannot fill the whole budget of tokens.
    """
    longest = {"summary": section.max_summary_chars}
    if short:
        longest["short"] = section.max_short_chars
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "minLength": 1, "maxLength": most}
            for name, most in longest.items()
        },
        "required": list(longest),
        "additionalProperties": False,
    }


def read_answer(answer: Generation, short: bool) -> tuple[str, str]:
    """Reads an answer.

    Args:
        answer: the model's.
        short: whether a short version was asked for.

    Returns:
        (summary, short version or an empty text), without spaces around them.

    Raises:
        NotUsedError: it is not what was asked for.
    """
    if answer.error is not None:
        raise NotUsedError(Reason.MALFORMED_OUTPUT, answer.error)
    try:
        value = _json_object(answer.text)
        texts = [value["summary"], value["short"] if short else ""]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a value is not text")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error} (finish reason {answer.finish_reason})"
        raise NotUsedError(Reason.MALFORMED_OUTPUT, detail) from error
    summary, brief = (text.strip() for text in texts)
    both = summary + brief
    if any("\ud800" <= c <= "\udfff" for c in both):
        detail = "half of a surrogate pair, which no UTF-8 text can hold"
        raise NotUsedError(Reason.MALFORMED_OUTPUT, detail)
    if _CONTROL.search(both):
        raise NotUsedError(Reason.MALFORMED_OUTPUT, "a control character")
    if not summary or (short and not brief):
        raise NotUsedError(Reason.NO_SUMMARY, "it is empty")
    return summary, brief


def _json_object(text: str) -> Any:
    """Returns the JSON object in an answer, with whatever stands around it.

    Engines that do not hold to a schema put it in fences, or think aloud before it.
    """
    body = text.rpartition("</think>")[2]
    start = max(0, body.find("{"))
    # Constrained engines may leave control characters in strings; the caller's check sees them.
    return json.JSONDecoder(strict=False).raw_decode(body, start)[0]


def check_summary(summary: str, short: str, document: str, section: Summaries) -> None:
    """Checks a finished summary against its document.

    Raises:
        NotUsedError: the rule it breaks.
    """
    fault = _fault(summary, short, section)
    if fault is None and section.engine.kind != "rules":
        fault = _copied(summary, document, section.max_copied_words)
    if fault is not None:
        raise NotUsedError(Reason.NO_SUMMARY, fault)


def _fault(summary: str, short: str, section: Summaries) -> str | None:
    words = len(summary.split())
    if words < section.min_summary_words:
        return f"{words} words, at least {section.min_summary_words}"
    for name, text, most in (
        ("summary", summary, section.max_summary_chars),
        ("short version", short, section.max_short_chars),
    ):
        if len(text) > most:
            return f"{name} of {len(text)} characters, at most {most}"
        if found := _PIECE.search(text):
            return f"{name} speaks of '{found.group()}'"
        if found := _CHATTER.search(text):
            return f"{name} begins with '{found.group().strip()}'"
    return None


def _copied(summary: str, document: str, most: int) -> str | None:
    """Returns what is wrong where more than ``most`` words in a row are the document's."""
    runs = shingle_hashes(summary, most + 1)
    if not np.isin(runs, shingle_hashes(document, most + 1)).any():
        return None
    return f"more than {most} words in a row are the document's"
