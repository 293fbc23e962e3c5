"""One multiple-choice question."""

from __future__ import annotations

import string
from dataclasses import dataclass

MAX_CHOICES = len(string.ascii_uppercase)


@dataclass(frozen=True)
class Item:
    """One question; ``answer`` is the 0-based right choice, None without a key."""

    item_id: str
    question: str
    choices: tuple[str, ...]
    answer: int | None = None
    topic: str | None = None


class MalformedError(ValueError):
    """A record that is no question; the message says why."""


def letter(choice: int) -> str:
    """Returns the letter of a 0-based choice: 0 is ``A``."""
    return string.ascii_uppercase[choice]
