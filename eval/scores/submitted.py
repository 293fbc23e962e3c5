"""Score somebody's file of predictions against a key.

Two layouts, known by their header:

* ``item_id, prediction``, what ``eval.scores`` writes for benchmarks without a key; any other
  column beside ``item_id`` is taken for a model of its own;
* ``question`` and a column per model, as HELM's answers to MMLU come (Gema et al. 2024, MMLU-Redux,
  published them so); columns that a question itself has (choices, answer, ...) are no models.

A prediction is a letter (`` A``, ``(b)``, ``C.``), else a 0-based number or the text of a choice.
One that is neither, or both, is unread and counts as wrong, as an empty one does. Questions that
the file leaves out count as wrong, too: otherwise leaving out the hard ones would pay. Both are
counted apart. Where predictions are whole answers, ``free_text`` reads them as ``eval.mcq`` reads a
model's (:mod:`eval.answers`).
"""

from __future__ import annotations

import csv
import io
import re
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.questions.names import (
    KEY_NAMES,
    LIST_NAMES,
    QUESTION_NAMES,
    TOPIC_NAMES,
    choice_columns,
    plain_name,
)
from eval.answers import read_answer
from eval.items import Item, load_items
from eval.items.choices import choices_of
from eval.items.item import MalformedError
from eval.scores.accuracy import share
from eval.scores.paired import Marks, compare_pairs, pairs_of

PREDICTIONS = ("prediction", "predictions", "predicted")

_QUESTION = "question"
_IDS = ("itemid", "id", "questionid")
_NOT_MODELS = frozenset(
    (
        *_IDS, *QUESTION_NAMES, *KEY_NAMES, *LIST_NAMES, *TOPIC_NAMES,
        "index", "split", "source", "comment", "groundtruth", "goldanswer", "errortype",
        "potentialreason",
    )
)  # fmt: skip
"""Columns that are no model's; the last three are MMLU-Redux's."""

_LETTER = re.compile(r"\(?([A-Za-z])\s*[).:]?")
# Tables make 2.0 of a 2 where another cell of the column is empty.
_NUMBER = re.compile(r"([0-9]{1,2})(?:\.0{1,6})?")
_SHOWN_UNKNOWN = 5


@dataclass
class Submitted:
    """A file's predictions against a key.

    Args:
        marks: model to its marks over the keyed questions (-1 never occurs: what is left out is 0).
        items: the keyed questions.
        unanswered: model to predictions that are empty or could not be read.
        missing: keyed questions that the file does not have.
        unkeyed: predictions of questions that have no key in the file of questions.
        unknown: rows of questions that the key does not have; the first few, as they name them.
        unknown_rows: how many.
    """

    items: list[Item]
    marks: dict[str, Marks] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    unkeyed: int = 0
    unknown: list[str] = field(default_factory=list)
    unknown_rows: int = 0

    def record(self, every_pair: bool = False) -> dict[str, Any]:
        """Returns accuracies with Wilson intervals, and McNemar over pairs of models, as JSON."""
        inside = np.ones(len(self.items), dtype=np.bool_)
        total = len(self.items)
        return {
            "questions": total,
            "missing": self.missing,
            "unkeyed": self.unkeyed,
            "unknown": self.unknown_rows,
            "models": [
                {"name": name, "unanswered": self.unanswered[name]}
                | share(int((marked == 1).sum()), total)
                for name, marked in self.marks.items()
            ],
            "paired": compare_pairs(self.marks, inside, pairs_of(list(self.marks), every_pair)),
        }


def read_prediction(cell: str, item: Item, free_text: bool = False) -> int | None:
    """Returns the 0-based choice that a cell means, None where it means none or several."""
    text = cell.strip()
    if not text:
        return None
    if free_text:
        return read_answer(text, item.choices).choice
    lettered = _LETTER.fullmatch(text)
    if lettered:
        place = string.ascii_uppercase.index(lettered.group(1).upper())
        return place if place < len(item.choices) else None
    folded = text.casefold()
    meant = {i for i, choice in enumerate(item.choices) if choice.casefold() == folded}
    number = _number(text)
    if number is not None and number < len(item.choices):
        meant.add(number)
    return meant.pop() if len(meant) == 1 else None


def _number(text: str) -> int | None:
    found = _NUMBER.fullmatch(text.strip())
    return int(found[1]) if found else None


def _refuse_from_one(name: str, given: Sequence[tuple[str, Item]], path: Path) -> None:
    """Refuses numbers that count from 1: read from 0, all of them would be others' places."""
    places = [
        (place, len(item.choices))
        for cell, item in given
        if (place := _number(cell)) is not None and cell.strip() not in item.choices
    ]
    if any(place == 0 for place, _ in places) or not any(place == n for place, n in places):
        return
    raise InputError(
        f"the predictions of {name} are numbers that count from 1: none is 0, and some are past "
        "the last choice",
        where=str(path),
        remedy="write letters, or numbers from 0",
    )


def score_file(predictions: Path, key: Path, free_text: bool = False) -> Submitted:
    """Scores a file.

    Args:
        predictions: CSV in one of the layouts above; comma, semicolon or tab; UTF-8.
        key: questions with answers, in any layout that :func:`eval.items.load_items` knows.
        free_text: predictions are whole answers; the letter is looked for in them.

    Raises:
        InputError: a file cannot be read, has no known layout, names a question twice, holds
            numbers that count from 1, or nothing of it is in the key.
    """
    items = load_items(key)[0]
    keyed = [item for item in items if item.answer is not None]
    if not keyed:
        raise InputError(
            "no question of this file has an answer",
            where=str(key),
            remedy="give the file with the key",
        )
    header, rows = _read(predictions)
    column = _names_items(header, predictions)
    models = _models(header, predictions)
    found = Submitted(keyed)
    cells = _by_item(rows, header, column, items, found, predictions)
    if not cells:
        raise InputError(
            f"none of {found.unknown_rows} rows is of a question of the key",
            where=str(predictions),
            remedy="compare ids, questions and choices of both files",
        )
    found.missing = sum(item.item_id not in cells for item in keyed)
    found.unkeyed = sum(item.answer is None and item.item_id in cells for item in items)
    for name, place in models.items():
        if not free_text:
            given = [(row[place], item) for item in keyed if (row := cells.get(item.item_id))]
            _refuse_from_one(name, given, predictions)
        marked = np.zeros(len(keyed), dtype=np.int8)
        unanswered = 0
        for number, item in enumerate(keyed):
            row = cells.get(item.item_id)
            choice = read_prediction(row[place], item, free_text) if row is not None else None
            unanswered += row is not None and choice is None
            marked[number] = choice == item.answer
        found.marks[name], found.unanswered[name] = marked, unanswered
    return found


def _read(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Returns the header and the rows with their numbers from 1."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        detail = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise InputError(
            f"cannot read the predictions: {detail}",
            where=str(path),
            remedy="give a CSV file in UTF-8",
        ) from error
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        listed = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(
            f"this is not valid CSV: {error}", where=str(path), remedy="save it again as CSV"
        ) from error
    header = [name.strip() for name in listed[0]] if listed else []
    for number, row in enumerate(listed[1:], start=1):
        if len(row) != len(header):
            raise InputError(
                f"row {number} has {len(row)} cells under {len(header)} columns",
                where=str(path),
                remedy="quote cells that hold a comma",
            )
    return header, enumerate(listed[1:], start=1)


def _names_items(header: Sequence[str], path: Path) -> int:
    """Returns the column that says which question a row is of.

    A column ``id`` beside the questions may number anything, so the questions go first.
    """
    plain = [plain_name(name) for name in header]
    for name in (_IDS[0], _QUESTION, *_IDS[1:]):
        if name in plain:
            return plain.index(name)
    raise InputError(
        f"this CSV has no known layout; its columns are: {', '.join(header)[:200]}",
        where=str(path),
        remedy="name the columns item_id and prediction, or question and one per model",
    )


def _models(header: Sequence[str], path: Path) -> dict[str, int]:
    """Returns model to its column."""
    single = [i for i, name in enumerate(header) if name.lower() in PREDICTIONS]
    if len(single) == 1:
        return {path.stem: single[0]}
    choices = choice_columns(header)[0]
    models = [
        (name, i)
        for i, name in enumerate(header)
        if name and name not in choices and plain_name(name) not in _NOT_MODELS
    ]
    if not models or len(dict(models)) < len(models):
        fault = "two columns have one name" if models else "no column holds predictions"
        raise InputError(
            f"{fault}: {', '.join(header)[:200]}",
            where=str(path),
            remedy="give a column 'prediction', or one column per model named as the model",
        )
    return dict(models)


def _by_item(
    rows: Iterator[tuple[int, list[str]]],
    header: Sequence[str],
    column: int,
    items: Sequence[Item],
    found: Submitted,
    path: Path,
) -> dict[str, list[str]]:
    """Returns item id to the row of its predictions."""
    by_text = plain_name(header[column]) == _QUESTION
    named: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        named[_plain(item.question) if by_text else item.item_id].append(item)
    cells: dict[str, list[str]] = {}
    for number, row in rows:
        given = _plain(row[column]) if by_text else row[column].strip()
        meant = named.get(given, [])
        if meant and by_text:
            meant = _same_choices(meant, dict(zip(header, row, strict=True)))
        if not meant:
            found.unknown_rows += 1
            if len(found.unknown) < _SHOWN_UNKNOWN:
                found.unknown.append(given[:80])
            continue
        # A benchmark may have the very same question twice: its rows are taken as they come.
        free = [item for item in meant if item.item_id not in cells]
        if not free or len({item.choices for item in meant}) > 1:
            what = "was there before" if not free else "is the text of two questions"
            raise InputError(
                f"row {number}: '{given[:80]}' {what}",
                where=str(path),
                remedy="name the questions by item_id, each once, or add their choices",
            )
        cells[free[0].item_id] = row
    return cells


def _same_choices(items: Sequence[Item], record: dict[str, str]) -> list[Item]:
    """Returns the items with the row's choices, if it has any: letters mean nothing without.

    MMLU astronomy has a question twice, with other choices.
    """
    try:
        choices = [_plain(text) for text in choices_of(record)[0]]
    except MalformedError:
        return list(items)
    return [item for item in items if [_plain(text) for text in item.choices] == choices]


def _plain(text: str) -> str:
    """Returns a question's text as it is compared: runs of white space are one space."""
    return " ".join(text.split())
