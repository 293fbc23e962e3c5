"""Numbers as a person reads them, and the other filters of the page's templates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from eval.items import letter
from eval.scores.verdicts import interval_text, percent

DASH = "–"
MINUS = "\N{MINUS SIGN}"

_MAX_METRIC_CHARS = 120
_THINK = re.compile(r"\A\s*(?:<think>)?(.*?)</think>", re.DOTALL)


def number(value: float | None, digits: int = 0) -> str:
    """Returns a number with thousands separators; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.{digits}f}"


def compact(value: float | None) -> str:
    """Returns a large number in three digits: 1234567 is ``1.23 M``."""
    if value is None:
        return DASH
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Returns seconds for a person: ``4.2 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def metric(value: Any) -> str:
    """Returns a stage's metric as short text."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= _MAX_METRIC_CHARS else text[:_MAX_METRIC_CHARS] + " …"


def points(share: float | None) -> str:
    """Returns a difference of shares in percentage points with its sign: ``+4.2``."""
    if share is None:
        return DASH
    said = f"{100 * share:+.1f}"
    # A true minus sign lines up with the digits.
    return "0.0" if said in ("+0.0", "-0.0") else said.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """Returns a p-value: ``0.031``, or ``< 0.001``."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def slug(text: str) -> str:
    """Returns a text as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def reasoning(text: str) -> dict[str, str]:
    """Splits an answer into its ``thought`` (up to ``</think>``) and what was ``said`` after.

    An answer that was cut off while thinking has said nothing.
    """
    found = _THINK.match(text)
    if found:
        return {"thought": found[1].strip(), "said": text[found.end() :].strip()}
    if text.lstrip().startswith("<think>"):
        return {"thought": text.lstrip().removeprefix("<think>").strip(), "said": ""}
    return {"thought": "", "said": text.strip()}


def percent_or_dash(share: float | None, digits: int = 1) -> str:
    """Returns a share as a percentage; a dash where there is none."""
    return DASH if share is None else percent(share, digits)


def answer_letter(choice: int | None) -> str:
    """Returns the letter of a choice; a dash where none was made."""
    return DASH if choice is None else letter(choice)


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "compact": compact,
    "duration": duration,
    "metric": metric,
    "points": points,
    "p_value": p_value,
    "percent": percent_or_dash,
    "interval": interval_text,
    "letter": answer_letter,
    "slug": slug,
    "reasoning": reasoning,
    "words": lambda text: text.replace("_", " "),
}
