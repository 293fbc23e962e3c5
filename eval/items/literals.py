"""Lists that a table's cell holds as text: JSON, Python's ``repr``, or NumPy's.

``['a', "b's"]`` is what pandas writes for a list, ``['a' "b's"]`` for an array, and ``{'text':
array(['a', 'b'], dtype=object), 'label': array(['A', 'B'], dtype=object)}`` for the choices of ARC
from the Hub. Python would read the second as one long string, so strings are taken one by one and
never evaluated together.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

MAX_CELL_CHARS = 100_000
MAX_STRINGS = 200

# One quoted string with what stands before it: no two parts can match the same text, so it is
# linear on any text.
_STRING = re.compile(r"""\s*(,?)\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.DOTALL)
_LIST = re.compile(r"\s*(?:array\s*\(\s*)?\[")
_END = re.compile(r"\s*,?\s*\](?:\s*,\s*dtype\s*=\s*[^(){}\[\]'\"]{1,40}\))?\s*")
_DICT = re.compile(r"""\s*\{\s*['"](text|label)['"]\s*:""")
_NEXT = re.compile(r"""\s*,\s*['"](text|label)['"]\s*:""")


def list_in_cell(cell: str) -> Any:
    """Returns the choices that a cell's text holds: a list of texts, or ``{"text", "label"}``.

    Raises:
        ValueError: it holds none, or not plainly one; the message says why.
    """
    if len(cell) > MAX_CELL_CHARS:
        raise ValueError(f"a cell of {len(cell):,} characters")
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    if _DICT.match(cell):
        return _read_dict(cell)
    texts, end = _read_list(cell, 0)
    if cell[end:].strip():
        raise ValueError("text after the list of choices")
    return texts


def _read_dict(cell: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    found = _DICT.match(cell)
    end = 0
    while found is not None:
        parts[found[1]], end = _read_list(cell, found.end())
        found = _NEXT.match(cell, end)
    if set(parts) != {"text", "label"} or cell[end:].strip() != "}":
        raise ValueError("choices that are neither a list nor texts with labels")
    return parts


def _read_list(cell: str, start: int) -> tuple[list[str], int]:
    """Returns the strings of the list that starts there, and where it ends."""
    opened = _LIST.match(cell, start)
    if opened is None:
        raise ValueError("'choices' is not a list of texts")
    texts: list[str] = []
    commas: list[bool] = []
    place = opened.end()
    while (found := _STRING.match(cell, place)) is not None and len(texts) < MAX_STRINGS:
        # A string literal alone: it calls nothing and names nothing.
        texts.append(str(ast.literal_eval(found[2].replace("\n", "\\n"))))
        commas.append(bool(found[1]))
        place = found.end()
    closed = _END.match(cell, place)
    if closed is None or (commas and commas[0]):
        raise ValueError("'choices' is not a list of texts")
    if len(set(commas[1:])) > 1:
        raise ValueError("a comma is missing between two choices")
    return texts, closed.end()
