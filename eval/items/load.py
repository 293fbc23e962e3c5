"""Read multiple-choice questions from files into one table, and say which records were no question.

What a file is called decides how it is read (:mod:`core.questions`); its records may have any of
these layouts, their names in any case:

* ``question`` with the choices in columns ``A`` ``B`` ``C`` ... (AstroMLab-1, Astro-QA),
  ``choice0`` ``choice1`` ... (MMLU), or ``option1``, ``option_a`` ...; the original MMLU files,
  which have no header;
* ``question`` with ``choices`` or ``options``: a list (MMLU from the Hub), ``{"text": [...],
  "label": [...]}`` (ARC from the Hub), ``{"A": ..., "B": ...}``, or in a table's cell such a list
  as text (MMLU-Redux);
* ARC's own JSON lines (Clark et al. 2018): ``{"id", "question": {"stem", "choices": [{"text",
  "label"}]}, "answerKey"}``;
* ``question`` and an answer that is true or false in the whole file: two choices.

Answers are letters, numbers, labels or the text of a choice (:mod:`eval.items.keys`). No answer
means no key: such items are predicted, not scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.questions import KEY_NAMES, QUESTION_NAMES, TOPIC_NAMES, Record, plain_name, read_records
from core.rejects import Reason, Reject
from core.schema import MCQ_ITEM
from eval.items.choices import Choices, choices_of, has_choices, truths
from eval.items.item import Item, MalformedError
from eval.items.keys import Convention, Key, convention_of, meant, plain_answer


@dataclass(frozen=True)
class _Draft:
    """A record with all but its key understood."""

    record: Record
    item: Item
    key: Key


def read_items(path: Path) -> tuple[pa.Table, list[Reject]]:
    """Reads a benchmark file.

    Args:
        path: one of :data:`core.questions.ENDINGS`, by its ending.

    Returns:
        A table of schema :data:`core.schema.MCQ_ITEM` in file order, and a reject per record that
        is malformed, not UTF-8, or repeats an id.

    Raises:
        InputError: the file cannot be read, or has no layout that is known.
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
    records = list(read_records(path))
    pair = truths(_bare_answers(records))
    read: list[_Draft | Reject] = []
    for record in records:
        try:
            if record.fault:
                raise MalformedError(record.fault)
            read.append(_draft(record, record.value, str(record.number), pair))
        except (ValueError, RecursionError) as error:
            read.append(_reject(path, record, record.reason, str(error)))
    convention = convention_of(part.key for part in read if isinstance(part, _Draft))
    items: list[Item] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for part in read:
        done = part if isinstance(part, Reject) else _finish(part, convention, seen, path)
        if isinstance(done, Reject):
            rejects.append(done)
        else:
            items.append(done)
            seen.add(done.item_id)
    return items, rejects


def parse_item(record: Any, fallback_id: str, convention: Convention | None = None) -> Item:
    """Checks one record of any known layout.

    Args:
        record: the decoded JSON value, or the cells of a table's row by column name.
        fallback_id: id of a record that brings none.
        convention: how its file writes its key; None: it is all of its file.

    Raises:
        ValueError: it is no question; the message says why.
    """
    draft = _draft(Record(0, ""), record, fallback_id, None)
    return _with_answer(draft, convention or convention_of([draft.key]))


def _draft(source: Record, record: Any, fallback_id: str, pair: tuple[str, ...] | None) -> _Draft:
    if not isinstance(record, Mapping):
        raise MalformedError("not a JSON object")
    by_name = {plain_name(name): value for name, value in reversed(list(record.items()))}
    question = _first(by_name, QUESTION_NAMES)
    holder = record
    if isinstance(question, Mapping):
        holder = question
        question = question.get("stem", question.get("text"))
    if not isinstance(question, str) or not question.strip():
        raise MalformedError("there is no question text")
    answer = _first(by_name, KEY_NAMES)
    if pair is not None and not has_choices(record):
        choices = Choices(pair)
        answer = str(answer) if isinstance(answer, bool) else answer
    else:
        choices = choices_of(holder)
    topic = _first(by_name, TOPIC_NAMES)
    item = Item(
        item_id=_item_id(by_name) or fallback_id,
        question=question.strip(),
        choices=choices.texts,
        topic=topic.strip() if isinstance(topic, str) and topic.strip() else None,
    )
    if not all(map(_is_unicode, (item.item_id, item.question, item.topic or "", *item.choices))):
        raise MalformedError("a text holds half a surrogate pair")
    return _Draft(source, item, Key(plain_answer(answer), *choices))


def _finish(draft: _Draft, convention: Convention, seen: set[str], path: Path) -> Item | Reject:
    try:
        item = _with_answer(draft, convention)
    except MalformedError as error:
        return _reject(path, draft.record, Reason.MALFORMED_RECORD, str(error))
    if item.item_id in seen:
        detail = f"the id '{item.item_id}' was there before"
        return _reject(path, draft.record, Reason.DUPLICATE_ID, detail)
    return item


def _with_answer(draft: _Draft, convention: Convention) -> Item:
    item = draft.item
    answer = meant(draft.key, convention)
    return Item(item.item_id, item.question, item.choices, answer, item.topic)


def _reject(path: Path, record: Record, reason: Reason, detail: str) -> Reject:
    return Reject(f"{path.name}:{record.number}", reason, detail, record.raw)


def _bare_answers(records: Sequence[Record]) -> set[str]:
    """Returns the keys, in lower case, of records without choices."""
    return {
        str(answer).strip().lower()
        for record in records
        if isinstance(record.value, Mapping) and not has_choices(record.value)
        for answer in [_first({plain_name(n): v for n, v in record.value.items()}, KEY_NAMES)]
        if answer is not None
    }


def _first(by_name: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Returns the first value there that is not empty."""
    for name in names:
        value = by_name.get(name)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            return value
    return None


def _item_id(by_name: Mapping[str, Any]) -> str:
    given = by_name.get("itemid", by_name.get("id"))
    return "" if given is None else str(given).strip()


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
