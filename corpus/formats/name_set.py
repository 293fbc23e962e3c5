"""Sets of names written as a block of words."""

from __future__ import annotations


def name_set(text: str) -> frozenset[str]:
    """Returns the words of a text."""
    return frozenset(text.split())
