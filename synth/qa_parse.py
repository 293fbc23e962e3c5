"""What a model answered, read as question-answer pairs: all that is whole, whatever is around it.

Constrained engines answer with the JSON that was asked for, cut off where tokens ran out; a server
without constraints also sends fences, a word before, or the list without the object around it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_LIST = re.compile(r'"pairs"\s*:\s*\[|\[(?=\s*[{\]])')
_BETWEEN = re.compile(r"[\s,]*")
_FENCE = re.compile(r"\s*(?:`{3}|~{3})\w*[ \t]*\n(.*?)(?:`{3}|~{3})\s*", re.DOTALL)
_THOUGHT = "</think>"
_BROKEN = (ValueError, RecursionError)


@dataclass(frozen=True)
class Parsed:
    """What an answer holds.

    Args:
        items: the pairs' JSON values, unchecked.
        fault: what is wrong with the answer as a whole, or None.
        rest: the text that ``fault`` is about.
    """

    items: tuple[Any, ...]
    fault: str | None = None
    rest: str = ""


def parse_answer(text: str) -> Parsed:
    """Reads an answer; whole pairs before a cut are kept, the rest comes back as text."""
    body = text.rpartition(_THOUGHT)[2]
    if fenced := _FENCE.fullmatch(body):
        body = fenced[1]
    try:
        # Strings may hold control characters; the pair's check sees them.
        return _items(json.loads(body, strict=False), text)
    except _BROKEN as error:
        fault = f"{type(error).__name__}: {error}"
    return _salvaged(body, text, fault)


def _items(value: Any, text: str) -> Parsed:
    if isinstance(value, list):
        return Parsed(tuple(value))
    if not isinstance(value, dict):
        return Parsed((), f"{type(value).__name__} instead of an object with pairs", text)
    if "pairs" not in value:
        if {"question", "answer"} <= value.keys():
            return Parsed((value,))
        return Parsed((), "no 'pairs'", text)
    if not isinstance(value["pairs"], list):
        return Parsed((), "'pairs' is not a list", text)
    return Parsed(tuple(value["pairs"]))


def _salvaged(body: str, text: str, fault: str) -> Parsed:
    """Reads a list's items one by one as far as they go; what then ends the list is no fault."""
    found = _LIST.search(body)
    if found is None:
        return Parsed((), fault, text)
    decoder = json.JSONDecoder(strict=False)
    items: list[Any] = []
    position = _skip(body, found.end())
    while not body.startswith("]", position):
        try:
            item, end = decoder.raw_decode(body, position)
        except _BROKEN:
            if not items:
                return Parsed((), fault, text)
            return Parsed(tuple(items), f"{fault}; {len(items)} whole before", body[position:])
        items.append(item)
        position = _skip(body, end)
    return Parsed(tuple(items)) if items else Parsed((), fault, text)


def _skip(body: str, position: int) -> int:
    found = _BETWEEN.match(body, position)
    return found.end() if found else position
