r"""What a model's text gives as its final answer, where the answer is a value and not a choice.

AstroSage-8B's answers to calculation problems state a result early, say it again in other forms and
ramble on until the token limit cuts them in the middle of a number. So the last whole statement
counts, and one that the end of the text cuts off only where there is no other.

============== ================================================================================
``json``       an object with a key such as ``final answer`` or ``result``
``boxed``      ``\boxed{...}``
``statement``  "the final answer is ...", "Final result: ...", or below such a heading
``conclusion`` "Therefore, ... is 1.45 times ...": the sentence, if it holds a number
``bold``       a number in bold
``number``     the last sentence that says that something is or equals a number
============== ================================================================================
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from eval.answers.fields import boxed_values, unescaped
from eval.answers.text import TRUNCATED, in_plain_spaces, own_part, without_markup, without_thoughts

MAX_ANSWER_CHARS = 400
MAX_CANDIDATES = 500
"""Statements looked at by one rule, the last ones: a model in a loop repeats one without end."""

_KEY = r"(?i:(?:final[_ ])?(?:answer|result)|ideal[_ ]answer)"
_JSON = re.compile(
    rf"(?<!\\)[\"']{_KEY}[\"'] ?: ?"
    r"(?:\"((?:[^\"\\\n]|\\.){1,400})\"|([-+]?\d[^,}\n\"]{0,40})(?=[,}\n ]))"
)
_STATEMENT = re.compile(
    r"(?i:\b(?:final (?:answer|result|value|solution)|the (?:answer|result)"
    r"|solution to the problem)(?: is| was| of [^.\n]{1,80} is)?"
    r"(?: ?[:=]| is| are| as follows:?)[ \n]?"
    r"|(?:^|\n)#* ?(?:final )?(?:answer|result):? ?\n ?)"
)
_CONCLUSION = re.compile(r"(?i:\b(?:therefore|thus|hence|so|consequently|in conclusion),? )(?=\w)")
_SAYS = re.compile(
    r"(?i: (?:is|was|are|equals|of|be)"
    r"(?: (?:approximately|about|roughly|around|exactly|equal to|given by))?"
    r"| ?[=≈~∼])[ \n]?(?=[-−+]?\$?\d)"
)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_DIGIT = re.compile(r"\d")
# A full stop between two digits, or in front of a small letter, ends nothing.
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)[.!?](?=\s+(?![a-z])|\"|$)|\n")


@dataclass(frozen=True)
class Final:
    """What was read.

    Args:
        text: the value with its unit or the sentence that gives it; None where there is none.
        read_by: the rule that read it; ``truncated``, ``empty`` or ``unread`` where there is none.
    """

    text: str | None
    read_by: str


def read_final(text: str, *, reasoning: bool = False) -> Final:
    """Reads the final answer; see the module's table.

    Args:
        text: what the model wrote after the prompt.
        reasoning: the prompt opened ``<think>``: only what follows the last ``</think>`` counts.
    """
    after = without_thoughts(text, reasoning)
    if after is None:
        return Final(None, TRUNCATED)
    plain = own_part(in_plain_spaces(after))
    if not plain:
        return Final(None, "empty")
    for name, rule in _RULES:
        whole, cut = "", ""
        for value, is_whole in rule(plain):
            shown = " ".join(without_markup(value).split())[:MAX_ANSWER_CHARS].strip(" :,")
            shown = shown[:-1] if shown.endswith(".") and not is_whole else shown
            if not shown:
                continue
            if is_whole:
                whole = shown
            else:
                cut = shown
        if whole or cut:
            return Final(whole or cut, name)
    return Final(None, "unread")


def _json(text: str) -> Iterator[tuple[str, bool]]:
    for found in _JSON.finditer(text):
        yield unescaped(found[1]) if found[1] else found[2], True


def _boxed(text: str) -> Iterator[tuple[str, bool]]:
    for value in boxed_values(text):
        yield value, True


def _statement(text: str) -> Iterator[tuple[str, bool]]:
    for found in deque(_STATEMENT.finditer(text), maxlen=MAX_CANDIDATES):
        value, whole = _sentence(text, found.end())
        # "The final answer is accurate and complete" gives none.
        if _DIGIT.search(value):
            yield value, whole


def _conclusion(text: str) -> Iterator[tuple[str, bool]]:
    for found in deque(_CONCLUSION.finditer(text), maxlen=MAX_CANDIDATES):
        value, whole = _sentence(text, found.end())
        if _SAYS.search(value):
            yield value, whole


def _bold(text: str) -> Iterator[tuple[str, bool]]:
    for found in _BOLD.finditer(text):
        if _DIGIT.search(found[1]):
            yield found[1], True


def _number(text: str) -> Iterator[tuple[str, bool]]:
    for found in deque(_SAYS.finditer(text), maxlen=MAX_CANDIDATES):
        value, whole = _sentence(text, found.end())
        yield value, whole


def _sentence(text: str, start: int) -> tuple[str, bool]:
    """Returns the text from there to the end of its sentence, and whether that end is there."""
    part = text[start : start + MAX_ANSWER_CHARS]
    found = _END.search(part)
    if found is None or start + found.start() + 1 >= len(text):
        return part, found is not None and not part[: found.start()][-1:].isdigit()
    return part[: found.start()], True


_RULES: Sequence[tuple[str, Callable[[str], Iterator[tuple[str, bool]]]]] = (
    ("json", _json),
    ("boxed", _boxed),
    ("statement", _statement),
    ("conclusion", _conclusion),
    ("bold", _bold),
    ("number", _number),
)
