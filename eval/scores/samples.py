"""A few questions with every model's answer, for the report; nobody picks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.items import Item
from eval.scores.paired import Marks
from eval.scores.rows import Label, Predictions

SAMPLES_PER_KIND = 3
"""Questions shown where the last model is right, and as many where it is wrong."""

SHOWN_CHARS = 4000
"""Of an answer's text; reasoning runs to many pages."""


def choose_places(marks: Sequence[Marks]) -> list[int]:
    """Returns the places of the questions shown, from the labels' marks in the tables' order.

    Half are ones that the last label gets right (those that the first gets wrong come first), half
    ones that it gets wrong; in file order.
    """
    first, last = marks[0], marks[-1]
    right = np.flatnonzero((last == 1) & (first >= 0))
    right = right[np.argsort(first[right], kind="stable")]
    wrong = np.flatnonzero((last == 0) & (first >= 0))
    return [int(place) for place in (*right[:SAMPLES_PER_KIND], *wrong[:SAMPLES_PER_KIND])]


def choose_samples(
    labels: Sequence[Label],
    marks: Mapping[str, Marks],
    predictions: Predictions,
    items: Mapping[str, Sequence[Item]],
) -> list[dict[str, Any]]:
    """Returns the content of ``samples.json``.

    Args:
        labels: rows of the tables.
        marks: label to its marks.
        predictions: where the answers' texts are.
        items: benchmark to its questions.
    """
    places = choose_places([marks[label.name] for label in labels])
    answers: dict[int, dict[str, Any]] = {place: {} for place in places}
    for label in labels if places else ():
        for row in predictions.texts(label, places).to_dicts():
            answers[row["place"]][label.name] = {
                "choice": row["choice"],
                "correct": bool(row["correct"]),
                "read_by": row["read_by"],
                "raw_text": (row["raw_text"] or "")[:SHOWN_CHARS],
            }
    facts = {row["place"]: row for row in predictions.items[places].to_dicts()}
    by_id = {
        (name, item.item_id): item
        for name in {row["benchmark"] for row in facts.values()}
        for item in items[name]
    }
    last = labels[-1].name
    samples = []
    for place in places:
        row = facts[place]
        item = by_id[row["benchmark"], row["item_id"]]
        given = answers[place]
        samples.append(
            {
                "benchmark": row["benchmark"],
                "item_id": item.item_id,
                "question": item.question,
                "choices": list(item.choices),
                "answer": item.answer,
                "topic": item.topic,
                "contaminated": row["contaminated"],
                "right": bool(marks[last][place] == 1),
                "predicted": {name: answer["choice"] for name, answer in given.items()},
                "answers": given,
            }
        )
    return samples
