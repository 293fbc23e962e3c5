"""The choices of a record, whatever form they have there."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any, NamedTuple

from core.questions.names import LIST_NAMES, choice_columns, plain_name
from eval.items.item import MAX_CHOICES, MalformedError
from eval.items.literals import list_in_cell

TRUTHS = (("True", "False"), ("Yes", "No"))
"""Choices of questions that have none: statements that are true or false."""

_MARKED = re.compile(r"\s*\(?([A-Z])[).:]\s+(\S.*)", re.DOTALL)


class Choices(NamedTuple):
    """A record's choices.

    Args:
        texts: what they say.
        labels: what the record calls them; None where it does not.
        first: what their columns count from (``choice0``, ``option1``); None where they do not.
    """

    texts: tuple[str, ...]
    labels: list[str] | None = None
    first: int | None = None


def choices_of(record: Mapping[str, Any]) -> Choices:
    """Returns a record's choices and what they are called there.

    Args:
        record: of any layout that :mod:`eval.items.load` names.

    Raises:
        MalformedError: there are none, or not as they should be.
    """
    values, labels, first = _found(record)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise MalformedError("'choices' is not a list of texts")
    if not 2 <= len(values) <= MAX_CHOICES:
        raise MalformedError(f"{len(values)} choices; there must be 2 to {MAX_CHOICES}")
    if not all(value.strip() for value in values):
        raise MalformedError("a choice is empty")
    if labels is not None and len(set(labels)) < len(labels):
        raise MalformedError("two choices have one label")
    return Choices(_without_marks(tuple(value.strip() for value in values)), labels, first)


def has_choices(record: Mapping[str, Any]) -> bool:
    """Tells whether a record has choices of its own, good or bad."""
    by_name = {plain_name(name): value for name, value in record.items()}
    listed = any(by_name.get(name) is not None for name in LIST_NAMES)
    nested = isinstance(by_name.get("question"), Mapping)
    return listed or nested or bool(choice_columns([str(name) for name in record])[0])


def _found(record: Mapping[str, Any]) -> tuple[Any, list[str] | None, int | None]:
    by_name = {plain_name(name): value for name, value in reversed(list(record.items()))}
    listed = next((by_name[name] for name in LIST_NAMES if by_name.get(name) is not None), None)
    if isinstance(listed, str):
        try:
            listed = list_in_cell(listed)
        except ValueError as error:
            raise MalformedError(str(error)) from error
    if isinstance(listed, Mapping):
        return *_of_mapping(listed), None
    if isinstance(listed, list) and listed and all(isinstance(c, Mapping) for c in listed):
        named = any(choice.get("label") is not None for choice in listed)
        if not named and any(set(choice) - {"text", "label"} for choice in listed):
            more = sorted({str(name) for choice in listed for name in choice} - {"text", "label"})
            raise MalformedError(f"choices with {', '.join(more)[:60]} beside their text")
        labels = [str(choice.get("label")) for choice in listed] if named else None
        return [choice.get("text") for choice in listed], labels, None
    if listed is not None:
        return listed, None, None
    columns, called = choice_columns([str(name) for name in record])
    texts = [record[name] for name in columns]
    # A file of five choices has an empty last cell where a question has four.
    while texts and (texts[-1] is None or (isinstance(texts[-1], str) and not texts[-1].strip())):
        texts.pop()
    if columns:
        # Letters say no more than the order does; numbers may start at 1.
        return texts, None, None if called[0] == "A" else int(called[0])
    return None, None, None


def _of_mapping(listed: Mapping[str, Any]) -> tuple[Any, list[str] | None]:
    """Reads ``{"text": [...], "label": [...]}`` and ``{"A": ..., "B": ...}``."""
    texts, labels = listed.get("text"), listed.get("label")
    if isinstance(texts, list) and isinstance(labels, list):
        if len(texts) != len(labels):
            raise MalformedError(f"{len(texts)} choices with {len(labels)} labels")
        return texts, [str(label) for label in labels]
    names = [str(name).strip().upper() for name in listed]
    if names != list(string.ascii_uppercase[: len(names)]):
        raise MalformedError("'choices' is neither a list nor named A, B, C, ...")
    return list(listed.values()), None


def _without_marks(choices: tuple[str, ...]) -> tuple[str, ...]:
    """Takes off ``A.``, ``B)``, ... where every choice has its own: the order shown may change."""
    found = [_MARKED.fullmatch(choice) for choice in choices]
    marks = [match[1] for match in found if match]
    if marks != list(string.ascii_uppercase[: len(choices)]):
        return choices
    return tuple(match[2].strip() for match in found if match)


def truths(answers: set[str]) -> tuple[str, ...] | None:
    """Returns the two choices of statements whose key says only true or false, else None.

    Args:
        answers: every key of the file, in lower case.
    """
    for pair in TRUTHS:
        if answers and answers <= {word.lower() for word in pair}:
            return pair
    return None
