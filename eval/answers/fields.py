r"""Answers in a field: JSON with a key for the answer, and ``\boxed{...}``.

JSON is looked for by its key, not parsed: models leave off the closing brace, write single quotes,
put it in a fence, and go on talking after it.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator

KEYS = (
    r"(?:final[_ ]?|ideal[_ ]?|correct[_ ]?|best[_ ]?|selected[_ ]?|chosen[_ ]?|my[_ ]?)?"
    r"(?:answer|choice|option|letter|selection|response|result|correct)"
    r"(?:[_ ]?(?:letter|choice|option|key|id))?"
)
"""Names of the key: ``answer``, ``ideal_choice``, ``correct_option``, ``choice`` ..."""

_VALUE = (
    r"(?:\"(?P<double>(?:[^\"\\\n]|\\.){0,2000})(?:\"|$)|'(?P<single>[^'\n]{0,2000})(?:'|$)"
    r"|\[ ?[\"'](?P<listed>[^\"'\n]{0,200})[\"'] ?\]"
    r"|(?P<bare>[A-Za-z])(?= ?(?:[,}\]\n]|$)))"
)
_FIELD = re.compile(rf"(?<!\\)[\"'](?i:{KEYS})[\"'] ?: ?\n?{_VALUE}")
_BOXED = re.compile(r"\\f?boxed ?\{")
_TAGGED = re.compile(r"<(?:final_?)?(?:answer|choice)>([^<]{1,300})</", re.IGNORECASE)
_MAX_BOX_CHARS = 500
_MAX_BOXES = 500


def json_values(text: str) -> Iterator[str]:
    """Yields what the text gives for the answer's key, first to last.

    Args:
        text: in plain spaces.
    """
    for found in _FIELD.finditer(text):
        double = found["double"]
        if double is not None:
            yield unescaped(double)
        else:
            yield found["single"] or found["listed"] or found["bare"] or ""


def unescaped(text: str) -> str:
    """Returns the inside of a JSON string as it reads; one that is none, as it stands."""
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def tagged_values(text: str) -> Iterator[str]:
    """Yields what stands between ``<answer>`` and ``</answer>``, first to last."""
    for found in _TAGGED.finditer(text):
        yield found[1]


def boxed_values(text: str) -> Iterator[str]:
    r"""Yields what stands in each ``\boxed{...}``, first to last; an open one is passed over."""
    # The last one counts; a text of nothing but boxes is not worth its time.
    for found in deque(_BOXED.finditer(text), maxlen=_MAX_BOXES):
        depth, start = 1, found.end()
        for place in range(start, min(len(text), start + _MAX_BOX_CHARS)):
            if text[place] in "{}":
                depth += 1 if text[place] == "{" else -1
                if depth == 0:
                    yield text[start:place]
                    break
