"""What the right answer of a record means: a letter, a number, a label or a choice's text.

The key ``2`` of a question with the choices 1, 2, 4, 8 may be a choice or its place, and the places
of a file may count from 0 or from 1. One record cannot tell, its whole file can: an answer that has
two meanings is read as all others of the file are read, if there are enough of them and they agree;
otherwise it is refused, never guessed.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eval.items.item import MalformedError

MIN_EVIDENCE = 10
"""Answers that must agree before they decide on another one. From 0 to 3 at random, ten answers
without a single 0 are found in one file of 18; with ``MIN_NUMBERS`` in one of 300."""
MIN_NUMBERS = 20

_LETTER = re.compile(r"(?:option\s+)?[(\[]?([A-Za-z])[)\].:]?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Za-z])[)\].:]+\s+(\S.*)", re.DOTALL)
# A few digits only: int() of a long run is slow, and no choice has such a number.
_NUMBER = re.compile(r"[0-9]{1,2}")
_SEVERAL = re.compile(r"[A-Z](?:\s*(?:,|;|/|&|and|or)?\s*[A-Z])+", re.IGNORECASE)


@dataclass(frozen=True)
class Convention:
    """How a file writes its key.

    Args:
        first: what places written as numbers count from.
        by: what an answer with two meanings is; None: it is refused.
    """

    first: int = 0
    by: Literal["label", "text"] | None = None


PLAIN = Convention()
"""Numbers count from 0; what has two meanings is refused."""


@dataclass(frozen=True)
class Key:
    """A record's answer with the choices it is among.

    Args:
        answer: as the record has it.
        choices: the texts.
        labels: what they are called there; None: letters, or numbers from the file's first.
    """

    answer: Any
    choices: Sequence[str]
    labels: Sequence[str] | None = None


def convention_of(keys: Iterable[Key]) -> Convention:
    """Returns how a file writes its key, by all the keys that say it plainly."""
    listed = [key for key in keys if not _is_absent(key.answer)]
    first = _first_number(listed)
    votes = {"label": 0, "text": 0}
    for key in listed:
        by_label, by_text = _by_label(key, first), _by_text(key)
        if (by_label is None) != (by_text is None):
            votes["label" if by_label is not None else "text"] += 1
    if votes["label"] >= MIN_EVIDENCE and not votes["text"]:
        return Convention(first, "label")
    if votes["text"] >= MIN_EVIDENCE and not votes["label"]:
        return Convention(first, "text")
    return Convention(first)


def meant(key: Key, convention: Convention) -> int | None:
    """Returns the 0-based choice that an answer means, or None for no key.

    Raises:
        MalformedError: it means none, or could mean two.
    """
    answer = key.answer
    if isinstance(answer, list) and len(answer) == 1:
        key = Key(answer[0], key.choices, key.labels)
        answer = answer[0]
    if _is_absent(answer):
        return None
    if isinstance(answer, list) and len(answer) > 1:
        raise MalformedError(f"{len(answer)} answers: a question must have one right choice")
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        raise MalformedError(f"the answer {answer!r} is neither a letter nor a whole number")
    by_label, by_text = _by_label(key, convention.first), _by_text(key)
    if by_label is None and by_text is None:
        raise MalformedError(_why_none(str(answer).strip(), len(key.choices)))
    if by_label is not None and by_text is not None and by_label != by_text:
        # What a file calls its choices (choice0, choice1, ...; ARC's labels), its key goes by.
        if key.labels is not None and str(answer).strip() in key.labels:
            return by_label
        if convention.by is None:
            raise MalformedError(f"the answer '{answer}' could mean 2 different choices")
        return by_label if convention.by == "label" else by_text
    return by_text if by_label is None else by_label


def _is_absent(answer: Any) -> bool:
    return answer is None or answer == [] or (isinstance(answer, str) and not answer.strip())


def _by_label(key: Key, first: int) -> int | None:
    """Returns the choice that an answer names by its letter, number or label."""
    if isinstance(key.answer, bool) or not isinstance(key.answer, int | str):
        return None
    answer = str(key.answer).strip()
    if key.labels is not None:
        if answer in key.labels:
            return list(key.labels).index(answer)
        if key.labels[0].isdigit() and _NUMBER.fullmatch(answer):
            return None
    if _NUMBER.fullmatch(answer):
        place = int(answer) - first
    elif found := _LETTER.fullmatch(answer):
        place = string.ascii_uppercase.index(found[1].upper())
    elif (found := _LETTER_AND_TEXT.fullmatch(answer)) is not None:
        place = string.ascii_uppercase.index(found[1].upper())
        if not (place < len(key.choices) and key.choices[place] == found[2].strip()):
            return None
    else:
        return None
    return place if 0 <= place < len(key.choices) else None


def _by_text(key: Key) -> int | None:
    """Returns the one choice whose text an answer is."""
    if not isinstance(key.answer, str):
        return None
    answer = key.answer.strip()
    same = [place for place, choice in enumerate(key.choices) if choice == answer]
    same = same or [p for p, c in enumerate(key.choices) if c.casefold() == answer.casefold()]
    return same[0] if len(same) == 1 else None


def _first_number(keys: Sequence[Key]) -> int:
    """Returns 1 where places can only be counted from 1: none is 0, and one is past the end."""
    places = [
        (int(str(key.answer).strip()), len(key.choices))
        for key in keys
        if key.labels is None
        and not isinstance(key.answer, bool)
        and _NUMBER.fullmatch(str(key.answer).strip())
        and _by_text(key) is None
    ]
    last = any(place == count for place, count in places)
    fits = all(1 <= place <= count for place, count in places)
    return 1 if last and fits and len(places) >= MIN_NUMBERS else 0


def _why_none(answer: str, choices: int) -> str:
    letters = set(re.findall(r"[A-Z]", answer.upper()))
    last = string.ascii_uppercase[choices - 1]
    if (
        len(answer) <= 60
        and _SEVERAL.fullmatch(answer)
        and len(letters) > 1
        and max(letters) <= last
    ):
        return f"several answers ('{answer}'): a question must have one right choice"
    return f"the answer '{answer[:60]}' is none of the {choices} choices"
