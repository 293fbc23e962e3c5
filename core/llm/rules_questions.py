"""Which questions lean on a paper, by patterns: no language model.

For the demo and the tests. It sees the words ("the authors", "in this study", "Figure 3"), not
whether a general reader could answer: a question about one paper's number that does not say so
passes.
"""

from __future__ import annotations

import json
import re

from core.llm.engine import GenerateRequest, Generation

_WORKS = (
    r"(?:paper|study|work|article|review|chapter|manuscript|publication|authors?|"
    r"document|survey paper|researchers|present analysis)"
)
# "The study of quasars" and "our Galaxy" are no paper: what follows or goes before must say so.
_REFERENCE = re.compile(
    rf"\b(?:this|these|their|present|current|reviewed|cited) (?:\w+ )?{_WORKS}\b"
    rf"|\b(?:the|our) (?:\w+ )?{_WORKS}\b(?! (?:of|on|in|into|about|done|needed)\b)"
    r"|\b(?:fig|figure|table|section|sect|equation|eq|appendix)\.? ?\(?\d"
    r"|\b(?:described|discussed|mentioned|presented|shown|reported|listed) (?:above|below)\b"
    r"|\b(?:the|this) (?:text|passage)\b|\b(?:aforementioned|herein)\b",
    re.IGNORECASE,
)
_NAMED = (
    rf"(?:the|this) (?:text|passage|(?:\w+ )?{_WORKS})"
    r"(?:'s? (?:findings|results|conclusions|view))?"
)
_VERB = r"(?:discussed|described|mentioned|presented|stated|shown|noted|outlined|explained|given)"
_REMOVABLE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^(?:according to|based on|in|as {_VERB} (?:in|by)|from) {_NAMED},? ",
        rf",? (?:according to|as {_VERB} (?:in|by)|{_VERB} (?:in|by)|based on) {_NAMED}(?=[?.,])",
        rf",? in {_NAMED}(?=[?.,])",
    )
)
"""Phrases that only point to the source; without them the question stands alone."""

_MIN_WORDS = 4


def reference_in(question: str) -> str | None:
    """Returns the words with which a question leans on a paper, or None."""
    found = _REFERENCE.search(question)
    return found.group().strip() if found else None


def without_reference(question: str) -> str:
    """Returns the question without phrases that only point to its source."""
    for pattern in _REMOVABLE:
        question = pattern.sub("", question)
    return question[:1].upper() + question[1:]


def answer_question(request: GenerateRequest) -> Generation:
    """Answers the task ``clean_question`` with ``{"reason", "verdict", "question"}``.

    Args:
        request: ``inputs`` has ``question``.
    """
    question = request.inputs.get("question")
    if question is None:
        return Generation("", "error", error="bad inputs: no 'question'")
    verdict, shown, reason = "keep", question, "no word leans on a paper"
    if (reference := reference_in(question)) is not None:
        shown = without_reference(question)
        verdict, reason = "rewrite", f"'{reference}' only points to the source"
        if reference_in(shown) is not None or len(shown.split()) < _MIN_WORDS:
            verdict, shown, reason = "remove", question, f"leans on '{reference}'"
    value = {"reason": reason, "verdict": verdict, "question": shown}
    return Generation(json.dumps(value, ensure_ascii=False), "stop")
