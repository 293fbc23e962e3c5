"""Reading a judge's verdict. What is not plainly one is a reject, never a score.

Strict on purpose: a model that leaves the form has lost the thread, and a number fished out of such
text would be a guess. Scores are integers: ``4.5`` and ``5.0`` are no verdict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.recipe.judge import SCORE_SCALE

CRITERIA = ("correctness", "stand_alone", "pertinence", "overall")
"""AstroMLab 3, section III.1, in its order."""

_COMPLETION = re.compile(r"\s*([0-9]+)\s*,\s*([0-9]+)\s*,\s*([0-9]+)\s*,\s*([0-9]+)\s*\]")
# No bracket inside, so that a text of nothing but brackets takes no longer than any other.
_RATING = re.compile(r"\[\[([^\[\]]*)\]\]")
_SHOWN_CHARS = 80


class VerdictError(Exception):
    """A text that is not a verdict; says why."""


@dataclass(frozen=True)
class Verdict:
    """A judge's scores.

    Args:
        scores: by criterion, integers from 1; a rating has ``overall`` alone.
        spans: where each score's digits stand in the judge's text, ``(start, end)``.
    """

    scores: Mapping[str, int]
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def parse_completion(text: str) -> Verdict:
    """Reads what a base model writes after ``Score: [``, such as ``5,5,4,5]``.

    The scores must come first and the bracket must close: a list further on belongs to a pair that
    the model made up, and of ``5,5,5,5`` without the bracket the last number may be half a number.

    Raises:
        VerdictError: it is not that.
    """
    found = _COMPLETION.match(text)
    if found is None:
        raise VerdictError(f"not four integers and a bracket: {_shown(text)}")
    spans = {name: found.span(n) for n, name in enumerate(CRITERIA, 1)}
    scores = {name: _in_scale(found[n], SCORE_SCALE) for n, name in enumerate(CRITERIA, 1)}
    return Verdict(scores, spans)


def parse_schema(text: str) -> Verdict:
    """Reads a JSON object with the four criteria as integers.

    Raises:
        VerdictError: it is not that, or says something twice.
    """
    try:
        value = json.loads(text, strict=False, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise VerdictError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise VerdictError("not a JSON object")
    scores = {}
    for name in CRITERIA:
        if name not in value:
            raise VerdictError(f"no '{name}'")
        score = value[name]
        if isinstance(score, bool) or not isinstance(score, int):
            raise VerdictError(f"'{name}' is {_shown(repr(score))}, not an integer")
        scores[name] = _in_scale(str(score), SCORE_SCALE)
    spans = {name: _span(text, name) for name in CRITERIA}
    return Verdict(scores, spans)


def parse_rating(text: str, scale: int) -> Verdict:
    """Reads a text that holds one rating in double brackets, ``[[7]]``.

    The same rating may stand there twice; two different ones are no verdict.

    Args:
        text: what the judge wrote.
        scale: the highest rating, the lowest is 1.

    Raises:
        VerdictError: there is none, or not one.
    """
    found = list(_RATING.finditer(text))
    if not found:
        raise VerdictError(f"no [[rating]]: {_shown(text)}")
    given = {match[1].strip() for match in found}
    if len(given) > 1:
        raise VerdictError(f"different ratings: {_shown(', '.join(sorted(given)))}")
    (rating,) = given
    if not re.fullmatch(r"[0-9]+", rating):
        raise VerdictError(f"the rating is {_shown(rating)}, not an integer")
    last = found[-1]
    start = last.start(1) + last[1].index(rating)
    return Verdict({"overall": _in_scale(rating, scale)}, {"overall": (start, start + len(rating))})


def _in_scale(digits: str, scale: int) -> int:
    # Longer numbers than the scale's are wrong whatever their value; int() of a huge one raises.
    if len(digits) > len(str(scale)) or not 1 <= int(digits) <= scale or digits[0] == "0":
        raise VerdictError(f"{_shown(digits)} is no integer from 1 to {scale}")
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _span(text: str, name: str) -> tuple[int, int]:
    """Returns where a criterion's digits stand; the key's last place, after any explanation."""
    found = list(re.finditer(rf'"{name}"\s*:\s*([0-9]+)', text))
    if not found:
        raise VerdictError(f"'{name}' is spelled with escapes")
    return found[-1].span(1)


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_CHARS])
