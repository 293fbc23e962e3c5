"""A model's text made ready for reading: without its thoughts, in plain spaces, markup apart."""

from __future__ import annotations

import re
import unicodedata

THINK_END = "</think>"
THINK_START = "<think>"

TRUNCATED = "truncated"
"""``read_by`` of an answer whose text ended before it was given: the limit of tokens came first."""

_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[\n ]*")
_MARKUP = re.compile(r"\*+|_{2,}|`+|~~|^#+ |\$+", re.MULTILINE)
_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|rm|bf)\s{0,3}\{([^{}]{0,200})\}"
)
# A base model goes on with questions of its own; what it says there is no answer to ours.
_NEXT_QUESTION = re.compile(
    r"\n(?:#+ |\*\*)?(?:(?:Question|Q)(?: ?\d{1,4})?[:.]|(?:Human|User|Instruction|Problem) ?:)",
    re.IGNORECASE,
)
# A letter, and after it a question that does not say that it is one, with choices of its own.
_LETTER_FIRST = re.compile(r"\(?[A-Za-z]\)?[.)]?\n")
_NEW_CHOICES = re.compile(r"\n\(?A[.)] [^\n]{1,500}\n\(?B[.)] ")
_SPECIAL = re.compile(r"<\|[a-z_]{1,40}\|>|</?s>")


def without_thoughts(text: str, reasoning: bool) -> str | None:
    """Returns what follows the last ``</think>``.

    Args:
        text: what a model wrote.
        reasoning: the prompt opened the thoughts, so that a text without their end is all thought.

    Returns:
        The text after the thoughts, or None where they do not end: the answer was cut off.
    """
    before, end, after = text.rpartition(THINK_END)
    if end:
        return None if THINK_START in after else after
    if reasoning or THINK_START in text:
        return None
    return before or after


def in_plain_spaces(text: str) -> str:
    """Returns the text in compatibility form, with single spaces and single line breaks.

    Patterns can then count spaces instead of running over any number of them, so that each of them
    takes time in proportion to the text.
    """
    text = unicodedata.normalize("NFKC", _SPECIAL.sub(" ", text))
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def own_part(text: str) -> str:
    """Returns the text up to where the model goes on with another question."""
    found = _NEXT_QUESTION.search(text)
    if found and found.start() > 0:
        text = text[: found.start()]
    first = _LETTER_FIRST.match(text)
    return text[: first.end()].strip() if first and _NEW_CHOICES.search(text) else text


def without_markup(text: str) -> str:
    r"""Returns the text without Markdown's signs, dollar signs and ``\text{...}``."""
    return _MARKUP.sub("", _TEXT_COMMAND.sub(r"\1", text))


def alike(text: str) -> str:
    """Returns the text as it is compared: no case, no markup, no full stop or quotes around it."""
    return " ".join(without_markup(text).casefold().split()).strip(" .,;:!\"'“”‘’()[]")
