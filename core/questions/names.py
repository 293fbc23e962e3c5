"""What the columns of question files are called, and which header is one of a question file."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

QUESTION_NAMES = ("question", "stem", "prompt", "problem", "query")
KEY_NAMES = (
    "answer",
    "answerkey",
    "correct",
    "correctanswer",
    "correctoption",
    "correctchoice",
    "gold",
    "label",
    "key",
    "target",
    "ideal",
    "answeridx",
    "answerindex",
    "correctindex",
    "correctidx",
    "correctanswerindex",
    "correctoptionindex",
    "correctchoiceindex",
    "goldlabel",
    "goldindex",
    "cop",
)
"""The right answer: the first of them that holds something counts. MMLU-Redux has ``answer`` and a
``correct_answer`` of its annotators beside it; the published key goes first. ``cop`` is MedMCQA's.
"""
LIST_NAMES = ("choices", "options")
"""All choices in one cell or value."""
TOPIC_NAMES = ("topic", "subject", "category", "subfield")

_NUMBERED = re.compile(r"(?:choice|option|answer|opt|op)([a-z]|\d{1,2})")


def plain_name(name: object) -> str:
    """Returns a column's name without case, spaces and signs: ``Answer Key`` is ``answerkey``."""
    return re.sub(r"[\W_]+", "", str(name)).lower()


def choice_columns(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the columns that hold one choice each, in order, and what each is called.

    ``A`` ``B`` ``C`` ... or ``choice0`` ``choice1`` ..., ``option_a``, ``opa``, ``Option 1``; from
    the first letter, from 0 or from 1 on, without a gap.

    Args:
        names: the header as it stands in the file.

    Returns:
        ``(columns, labels)``: labels are letters or numbers; both empty where there are fewer than
        two such columns.
    """
    plain = {plain_name(name): name for name in reversed(names)}
    letters = [letter for letter in string.ascii_lowercase if letter in plain]
    if _in_a_row(letters):
        return [plain[letter] for letter in letters], [letter.upper() for letter in letters]
    found = {match[1]: name for key, name in plain.items() if (match := _NUMBERED.fullmatch(key))}
    for labels in (
        sorted(label for label in found if label.isalpha()),
        sorted((label for label in found if label.isdigit()), key=int),
    ):
        if _in_a_row(labels):
            return [found[label] for label in labels], [label.upper() for label in labels]
    return [], []


def _in_a_row(labels: Sequence[str]) -> bool:
    """Tells whether labels count up from ``a``, 0 or 1; a gap would shift the letters after it."""
    if len(labels) < 2:
        return False
    if labels[0].isalpha():
        return list(labels) == list(string.ascii_lowercase[: len(labels)])
    numbers = [int(label) for label in labels]
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def is_header(cells: Sequence[str]) -> bool:
    """Tells whether a table's first row names the columns of questions.

    A question, and choices of either kind or (true or false) an answer alone.
    """
    plain = {plain_name(cell) for cell in cells}
    if not plain.intersection(QUESTION_NAMES):
        return False
    has_choices = bool(choice_columns(cells)[0]) or bool(plain.intersection(LIST_NAMES))
    return has_choices or bool(plain.intersection(KEY_NAMES))
