"""Long lists of words and names, written as text."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """Returns the words of a text."""
    return text.split()


def names(text: str) -> list[str]:
    """Returns the names of a list set with commas; line ends count as spaces."""
    return [" ".join(name.split()) for name in text.split(",") if name.strip()]
