"""What the right answer of a record means: a letter, a number, a label or a choice's text.

The key ``2`` of a question with the choices 1, 2, 4, 8 may be a choice or its place, and the places
of a file may count from 0 or from 1. One record cannot tell, its whole file can: an answer that has
two meanings is read as all others of the file are read, if there are enough of them and they agree;
otherwise it is refused, never guessed.

Places count from 0, or from what the columns count from (``option1``). A file whose numbers
contradict that - past the last choice and nowhere 0, or 0 and nowhere the last - counts the other
way; if it has few numbers, all are refused: one of them may be a slip of the pen.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from eval.items.item import MalformedError

MIN_EVIDENCE = 10
"""Answers that must agree before they decide on another one. From 0 to 3 at random, ten answers
without a single 0 are found in one file of 18; with ``MIN_NUMBERS`` in one of 300."""
MIN_NUMBERS = 20

_LETTER = re.compile(r"(?:option\s+)?[(\[]?([A-Za-z])[)\].:]?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Za-z])[)\].:]+\s+(\S.*)", re.DOTALL)
# A few digits only: int() of a long run is slow, and no choice has such a number.
# Tables make 2.0 of a 2 where another cell of the column is empty.
_NUMBER = re.compile(r"([0-9]{1,2})(?:\.0{1,6})?")
_SEVERAL = re.compile(r"[A-Z](?:\s*(?:,|;|/|&|and|or)?\s*[A-Z])+", re.IGNORECASE)


@dataclass(frozen=True)
class Convention:
    """How a file writes its key.

    Args:
        first: what places written as numbers count from; None: they are refused.
        by: what an answer with two meanings is; None: it is refused.
    """

    first: int | None = 0
    by: Literal["label", "text"] | None = None


@dataclass(frozen=True)
class Key:
    """A record's answer with the choices it is among.

    Args:
        answer: as the record has it.
        choices: the texts.
        labels: what they are called there; None: letters, or numbers from the file's first.
        first: what the columns of the choices count from; None: they are not numbered.
    """

    answer: Any
    choices: Sequence[str]
    labels: Sequence[str] | None = None
    first: int | None = None


def plain_answer(answer: Any) -> Any:
    """Returns an answer as it was before a table made a number with decimals of it."""
    if isinstance(answer, list):
        return [plain_answer(part) for part in answer]
    if not isinstance(answer, float) or math.isinf(answer):
        return answer
    if math.isnan(answer):
        return None
    return int(answer) if answer.is_integer() else answer


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
        key = replace(key, answer=answer[0])
        answer = answer[0]
    if _is_absent(answer):
        return None
    if isinstance(answer, list) and len(answer) > 1:
        raise MalformedError(f"{len(answer)} answers: a question must have one right choice")
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        raise MalformedError(f"the answer {answer!r} is neither a letter nor a whole number")
    by_label, by_text = _by_label(key, convention.first), _by_text(key)
    if convention.first is None and convention.by != "text" and _may_count(key):
        raise MalformedError(
            f"the answer '{answer}' may count from 0 or from 1, and the file has too few numbers "
            "to tell; write letters"
        )
    if by_label is None and by_text is None:
        raise MalformedError(_why_none(str(answer).strip(), len(key.choices)))
    if by_label is not None and by_text is not None and by_label != by_text:
        # What a file calls its choices (choice0, choice1, ...; ARC's labels), its key goes by.
        if key.first is not None or (key.labels and str(answer).strip() in key.labels):
            return by_label
        if convention.by is None:
            raise MalformedError(f"the answer '{answer}' could mean 2 different choices")
        return by_label if convention.by == "label" else by_text
    return by_text if by_label is None else by_label


def _is_absent(answer: Any) -> bool:
    return answer is None or answer == [] or (isinstance(answer, str) and not answer.strip())


def _number(key: Key) -> int | None:
    """Returns the place that an answer is, as it stands."""
    if key.labels is not None or isinstance(key.answer, bool):
        return None
    found = _NUMBER.fullmatch(str(key.answer).strip())
    return int(found[1]) if found else None


def _may_count(key: Key) -> bool:
    place = _number(key)
    last = len(key.choices) - (0 if key.first else 1)
    return place is not None and (key.first or 0) <= place <= last


def _by_label(key: Key, first: int | None) -> int | None:
    """Returns the choice that an answer names by its letter, number or label."""
    if isinstance(key.answer, bool) or not isinstance(key.answer, int | str):
        return None
    answer = str(key.answer).strip()
    if key.labels is not None:
        if answer in key.labels:
            return list(key.labels).index(answer)
        if key.labels[0].isdigit() and _NUMBER.fullmatch(answer):
            return None
    if number := _NUMBER.fullmatch(answer):
        if first is None:
            return None
        place = int(number[1]) - first
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


def _first_number(keys: Sequence[Key]) -> int | None:
    """Returns what places count from; None where the few there are contradict their columns."""
    said = next((key.first for key in keys if key.first is not None), 0)
    places = [
        (place, len(key.choices))
        for key in keys
        if (place := _number(key)) is not None and _by_text(key) is None
    ]
    zero = any(place == 0 for place, _ in places)
    last = any(place == count for place, count in places)
    if zero == last or zero == (said == 0):
        return said
    return (0 if zero else 1) if len(places) >= MIN_NUMBERS else None


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
