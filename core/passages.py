"""What of a text counts when passages are compared: its letters without marks and markup.

A question copied into a paper may gain citation marks, change TeX for Unicode, or lose formatting.
Citations, TeX commands (Greek letters and functions keep their names), tags and link targets are
passed over on both sides, so that none of them hides or makes an overlap.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from core.letters import GREEK, Letters, letters

_NAMES = "|".join(
    sorted({*GREEK, "sin", "cos", "tan", "log", "ln", "exp", "max", "min"}, key=len, reverse=True)
)

# A mark of a note or reference is raised, and stands after a word: 10⁶ keeps its number. The mark
# comes first in a pattern, so that a search runs to it and only then looks back.
_WORD_BEFORE = r"(?<=[a-z]{3}.|[a-z]{2}[.,;:?)].)"
_RAISED = re.compile(rf"[¹²³⁰⁴-⁹]{_WORD_BEFORE}[¹²³⁰⁴-⁹,–⁻⋅]{{0,11}}")

# By the character that must be there at all: most texts lack some, and are not searched for them.
# Every repetition is bounded, so time stays linear whatever the text.
_HIDDEN = {
    "\\": re.compile(
        r"\\(?:[cC]ite[a-zA-Z]*|ref|eqref|autoref|cref|label)\*?"
        r"(?:\[[^\]\n]{0,80}\]){0,2}\{[^{}]{0,300}\}"
        rf"|\\var(?=(?:{_NAMES})(?![a-zA-Z]))"
        rf"|\\(?!(?:{_NAMES})(?![a-zA-Z]))[a-zA-Z]{{1,40}}"
    ),
    "[": re.compile(
        r"\[(?:\d{1,4}[a-z]?(?:\s?[,;–—-]\s?\d{1,4}[a-z]?){0,20}|\^[^\]\s]{1,40}|@[^\[\]\n]{1,300})\]"
        r"|\]\([^()\s]{1,500}\)"
    ),
    "(": re.compile(r"\([^()]{0,200}?\b(?:1[89]|20)\d\d[a-z]?\b[^()]{0,200}\)"),
    "^": re.compile(rf"\^{_WORD_BEFORE}\{{?[\d,–-]{{1,12}}\}}?"),
    # &nbsp; and &#x27; say nothing; &alpha; is a letter.
    "&": re.compile(rf"&(?!(?:{_NAMES});)(?:#\d{{1,7}}|#[xX][0-9a-fA-F]{{1,6}}|[a-zA-Z]{{2,8}});"),
    "<": re.compile(rf"<{_WORD_BEFORE}sup>[\d,–-]{{1,12}}</sup>|<(?:/?[a-zA-Z][^<>\n]{{0,200}})>"),
}


def passage_letters(text: str) -> Letters:
    """Returns the letters of a text that count when passages are compared."""
    return letters(text, _hidden(text))


def _hidden(text: str) -> npt.NDArray[np.bool_] | None:
    spans = [
        found.span()
        for mark, pattern in _HIDDEN.items()
        if mark in text
        for found in pattern.finditer(text)
    ]
    if not text.isascii():
        spans += [found.span() for found in _RAISED.finditer(text)]
    if not spans:
        return None
    steps = np.zeros(len(text) + 1, dtype=np.int32)
    starts, ends = np.array(spans).T
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return np.cumsum(steps[:-1]) > 0
