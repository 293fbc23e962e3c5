"""Read multiple-choice questions from files into one table, and say which lines were no question.

Three layouts are known by their content:

* JSON lines ``{"item_id", "question", "choices": [...], "answer", "topic"}``;
* JSON lines of ARC (Clark et al. 2018): ``{"id", "question": {"stem", "choices": [{"text",
  "label"}]}, "answerKey"}``;
* CSV with the columns ``question``, ``A`` ``B`` ``C`` ... (AstroMLab-1) or ``choice0`` ``choice1``
  ... (MMLU) and, where there is a key, ``answer``.

Answers are letters, 0-based numbers or the text of a choice; an answer that could mean two choices
is refused, never guessed. No answer means no key: such items are predicted, not scored.
"""

from __future__ import annotations

import csv
import io
import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import InputError
from core.rejects import Reason, Reject
from core.schema import MCQ_ITEM

MAX_CHOICES = len(string.ascii_uppercase)


@dataclass(frozen=True)
class Item:
    """One question; ``answer`` is the 0-based right choice, None without a key."""

    item_id: str
    question: str
    choices: tuple[str, ...]
    answer: int | None = None
    topic: str | None = None


class _Malformed(ValueError):
    """A record that is no question; the message says why."""


def letter(choice: int) -> str:
    """Returns the letter of a 0-based choice: 0 is ``A``."""
    return string.ascii_uppercase[choice]


def read_items(path: Path) -> tuple[pa.Table, list[Reject]]:
    """Reads a benchmark file.

    Args:
        path: JSON lines or CSV, by its ending; UTF-8, with or without a byte order mark.

    Returns:
        A table of schema :data:`core.schema.MCQ_ITEM` in file order, and a reject per record that
        is malformed, not UTF-8, or repeats an id.

    Raises:
        InputError: the file cannot be read, or is CSV without the columns named above.
    """
    items, rejects = load_items(path)
    rows = [
        {
            "item_id": item.item_id,
            "question": item.question,
            "choices": list(item.choices),
            "answer": item.answer,
            "topic": item.topic,
        }
        for item in items
    ]
    return pa.Table.from_pylist(rows, schema=MCQ_ITEM), rejects


def load_items(path: Path) -> tuple[list[Item], list[Reject]]:
    """Does what :func:`read_items` does and returns the items as objects."""
    items: list[Item] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for line, raw, record in _records(path):
        where = f"{path.name}:{line}"
        try:
            if not _is_unicode(raw):
                rejects.append(Reject(where, Reason.INVALID_UTF8, "not UTF-8", raw))
                continue
            if isinstance(record, _Malformed):
                raise record
            item = parse_item(json.loads(raw) if record is None else record, fallback_id=str(line))
        except (ValueError, RecursionError) as error:
            rejects.append(Reject(where, Reason.MALFORMED_RECORD, str(error), raw))
            continue
        if item.item_id in seen:
            detail = f"the id '{item.item_id}' was there before"
            rejects.append(Reject(where, Reason.DUPLICATE_ID, detail, raw))
            continue
        seen.add(item.item_id)
        items.append(item)
    return items, rejects


def _records(path: Path) -> Iterator[tuple[int, str, dict[str, Any] | _Malformed | None]]:
    """Yields (line or row number from 1, raw text, record or its fault if already known)."""
    try:
        # Bytes that are not UTF-8 pass through as lone surrogates, so only their record is lost.
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(
            f"cannot read the questions: {error.strerror or error}",
            where=str(path),
            remedy="check the path of the benchmark in the recipe",
        ) from error
    if path.suffix.lower() == ".csv":
        yield from _csv_records(text, path)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r"), None


def _csv_records(text: str, path: Path) -> Iterator[tuple[int, str, dict[str, Any] | _Malformed]]:
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(rows, [])]
        columns = _choice_columns(header)
        if "question" not in header or len(columns) < 2:
            raise InputError(
                f"this CSV has no known layout; its columns are: {', '.join(header)[:200]}",
                where=str(path),
                remedy="name the columns question, A, B, C, D and, where there is a key, answer",
            )
        for number, row in enumerate(rows, start=1):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                fault = _Malformed(f"{len(row)} cells under {len(header)} columns")
                yield number, ",".join(row), fault
                continue
            cells = dict(zip(header, row, strict=True))
            choices = [cells[name] for name in columns]
            while choices and not choices[-1].strip():
                choices.pop()
            yield number, ",".join(row), {**cells, "choices": choices}
    except csv.Error as error:
        raise InputError(
            f"this is not valid CSV: {error}", where=str(path), remedy="save it again as CSV"
        ) from error


def _choice_columns(header: list[str]) -> list[str]:
    numbered = sorted(
        (name for name in header if re.fullmatch(r"choice\d+", name)), key=lambda n: int(n[6:])
    )
    return numbered or [name for name in string.ascii_uppercase if name in header]


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def parse_item(record: Any, fallback_id: str) -> Item:
    """Checks one record of any known layout.

    Args:
        record: the decoded JSON value, or the cells of a CSV row with ``choices`` added.
        fallback_id: id of a record that brings none.

    Raises:
        ValueError: it is no question; the message says why.
    """
    if not isinstance(record, dict):
        raise _Malformed("not a JSON object")
    question, choices, labels = record.get("question"), record.get("choices"), None
    answer = record.get("answer")
    if isinstance(question, dict):
        question, choices, labels = _arc(question)
        answer = record.get("answerKey")
    if not isinstance(question, str) or not question.strip():
        raise _Malformed("there is no question text")
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        raise _Malformed("'choices' is not a list of texts")
    if not 2 <= len(choices) <= MAX_CHOICES:
        raise _Malformed(f"{len(choices)} choices; there must be 2 to {MAX_CHOICES}")
    if not all(c.strip() for c in choices):
        raise _Malformed("a choice is empty")
    texts = tuple(c.strip() for c in choices)
    topic = record.get("topic")
    item = Item(
        item_id=_item_id(record) or fallback_id,
        question=question.strip(),
        choices=texts,
        answer=_answer(answer, texts, labels),
        topic=topic.strip() if isinstance(topic, str) and topic.strip() else None,
    )
    if not all(_is_unicode(t) for t in (item.item_id, item.question, item.topic or "", *texts)):
        raise _Malformed("a text holds half a surrogate pair")
    return item


def _item_id(record: dict[str, Any]) -> str:
    given = record.get("item_id", record.get("id"))
    return "" if given is None else str(given).strip()


def _arc(question: dict[str, Any]) -> tuple[Any, Any, list[str] | None]:
    choices = question.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise _Malformed("'question.choices' is not a list of objects")
    labels = [str(c.get("label")) for c in choices]
    return question.get("stem"), [c.get("text") for c in choices], labels


def _answer(answer: Any, choices: tuple[str, ...], labels: list[str] | None) -> int | None:
    """Returns the 0-based choice that an answer means, or None for no key."""
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        return None
    if isinstance(answer, int) and not isinstance(answer, bool):
        meant = {answer}
    elif isinstance(answer, str):
        meant = _meanings(answer.strip(), choices, labels)
    else:
        raise _Malformed(f"the answer {answer!r} is neither a letter nor a whole number")
    valid = {m for m in meant if 0 <= m < len(choices)}
    if not valid:
        raise _Malformed(f"the answer '{answer}' is none of the {len(choices)} choices")
    if len(valid) > 1:
        raise _Malformed(f"the answer '{answer}' could mean {len(valid)} different choices")
    return valid.pop()


def _meanings(answer: str, choices: tuple[str, ...], labels: list[str] | None) -> set[int]:
    if labels is not None:
        return {i for i, label in enumerate(labels) if label == answer}
    meant = {i for i, choice in enumerate(choices) if choice == answer}
    if len(answer) == 1 and answer.upper() in string.ascii_uppercase:
        meant.add(string.ascii_uppercase.index(answer.upper()))
    # Few digits only: int() of a long run of digits is slow, and no choice has such a number.
    if re.fullmatch(r"[0-9]{1,2}", answer):
        meant.add(int(answer))
    return meant
