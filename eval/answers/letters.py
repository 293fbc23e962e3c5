"""Where in a text a letter stands for a choice, and where it is only a letter.

A capital A opens half of all sentences, and astronomy is full of letters: vitamin B, B-type stars,
star A of a binary, a K dwarf. A letter counts only where it is followed by what follows an answer.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from eval.answers.text import alike

LETTER = (
    r"(?:(?i:the )?(?i:option|choice|answer|letter|statement):? )?"
    r"(?:\((?P<paren>[A-Za-z])\)|\[(?P<bracket>[A-Za-z])\]|[\"'“‘]?(?P<bare>[A-Z])"
    r"|(?P<small>[a-z])(?=[.)]?(?:\n|$)))"
)
"""A letter as an answer is written: ``B``, ``(b)``, ``"B"``, ``option B``. Ends with the letter."""

MAX_CANDIDATES = 500
"""Letters looked at in one text and by one rule; nobody states an answer more often."""

_MAX_CHOICE_CHARS = 2000
_NOT_PART = re.compile(r"[\w\-–'’+^°/&]|\.[A-Za-z]")
_PUNCTUATION = re.compile(r"[\"'”’]?(?:$|[\n.,;:!)\]}>]| \(| ?[—–] | - )")
_REASON_WORDS = re.compile(
    r" (?:because|since|as|which|with|based|due|for|for the|here|in this case|is correct|is right|"
    r"is the (?:correct|right|best|answer))\b"
)
_SEVERAL = re.compile(
    r"[)\]\"'”’]?(?: ?[,/&|] ?(?:and |or )?| and | or | & )(?:option |choice )?"
    r"[(\[\"']?([A-Z])(?![\w'’-])"
)
_NEXT_MARK = r"\n ?[(\[]?{letter}[)\].:]"
_LISTED_CHARS = 600


@dataclass(frozen=True)
class Stated:
    """A letter that a text puts forward.

    Args:
        letters: one, or several where the text leaves it open (``A or B``).
        start: where it stands.
        conflict: the words after the letter are another choice's.
    """

    letters: tuple[str, ...]
    start: int
    conflict: bool = False


def stated(text: str, found: re.Match[str], choices: Sequence[str]) -> Stated | None:
    """Returns the letter that a match of :data:`LETTER` puts forward, or None where it does not.

    Args:
        text: the text searched.
        found: ends with the letter.
        choices: the texts of the choices.
    """
    letter = letter_of(found)
    end = found.end()
    start = end - 1
    # Of the choices p, b, d and q, "d" is no letter of a choice.
    written = found[0][-2] if found["paren"] or found["bracket"] else found[0][-1]
    if written.islower() and written in choices:
        places = [place for place, choice in enumerate(choices) if choice == written]
        own = string.ascii_uppercase.index(letter)
        return Stated((letter,), start, conflict=places != [own])
    # "The answer is a", and there the text is cut off.
    if found["small"] == "a" and not found[0].rstrip("a").rstrip(" \n").endswith(":"):
        return None
    several = _SEVERAL.match(text, end)
    if several and several[1] in string.ascii_uppercase[: len(choices)]:
        return Stated((letter, several[1]), start)
    if found["bare"] and _NOT_PART.match(text, end):
        return None
    # What follows is compared with the choices, so twice the longest is enough to see.
    reach = min(_MAX_CHOICE_CHARS, 2 * max(map(len, choices), default=0) + 40)
    said = said_choice(text[end : end + reach], choices)
    if said is not None:
        own = string.ascii_uppercase.index(letter)
        return Stated((letter,), start, conflict=own not in said)
    if not found["bare"]:
        return Stated((letter,), start)
    follows = _PUNCTUATION.match(text, end) or _REASON_WORDS.match(text, end)
    return Stated((letter,), start) if follows else None


def letter_of(found: re.Match[str]) -> str:
    """Returns the letter of a match of :data:`LETTER`, as a capital."""
    return (found["paren"] or found["bracket"] or found["bare"] or found["small"]).upper()


def said_choice(rest: str, choices: Sequence[str]) -> set[int] | None:
    """Returns the choices whose text opens what follows a letter, the longest ones, or None."""
    opened = alike(rest.lstrip(" .:,;)]-–—(\n\"'”’"))
    found = {
        place: len(words)
        for place, choice in enumerate(choices)
        if (words := choice_words(choice)) and len(words) > 1 and _opens(opened, words)
    }
    if not found:
        return None
    longest = max(found.values())
    return {place for place, length in found.items() if length == longest}


@lru_cache(maxsize=1024)
def choice_words(choice: str) -> str:
    """Returns a choice as it is compared; the same few are asked for again and again."""
    return alike(choice)


def _opens(text: str, words: str) -> bool:
    return text.startswith(words) and not text[len(words) : len(words) + 1].isalnum()


def lists_all(text: str, place: int, letter: str) -> bool:
    """Tells whether a letter is the first of a list of the choices, copied from the question."""
    after = chr(ord(letter) + 1)
    return bool(re.search(_NEXT_MARK.format(letter=after), text[place : place + _LISTED_CHARS]))
