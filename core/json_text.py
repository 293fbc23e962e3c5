"""JSON of others: what it says twice is refused, and a number that is none is nothing.

Python's reader takes the last of two equal keys without a word, so that a record with two answers
would be read with one of them. ``NaN`` and ``Infinity`` are no JSON; tables write them where a cell
is empty.
"""

from __future__ import annotations

import json
from typing import Any


class DoubledKeyError(ValueError):
    """An object has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DoubledKeyError(f"the key {twice[:80]!r} stands twice in one object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=lambda _: None)


def parse_json(text: str) -> Any:
    """Returns what a JSON text says; ``NaN`` and ``Infinity`` are None.

    Raises:
        DoubledKeyError: an object has a key twice.
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)
