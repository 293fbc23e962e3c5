"""Score and value against time: the best so far, and the trend of AstroMLab 1.

AstroMLab 1 foresaw ten times the cost-efficiency every six months, +1 in value (AstroMLab 4,
section 4.3 and Figure 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from eval.value.table import Entry, ValueTable

DAYS_PER_HALF_YEAR = 365.25 / 2
_NEWEST_DAYS = 183
"""Models of the last half year of the table stand for the frontier at its end."""


def dated(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the models whose release is known, oldest first; those of a day by name."""
    found = [entry for entry in entries if entry.released is not None]
    return sorted(found, key=lambda entry: (_day(entry), entry.name))


def best_so_far(
    entries: Sequence[Entry], number: Callable[[Entry], float | None]
) -> list[tuple[date, Entry]]:
    """Returns the steps of the best: day and model, whenever a model passes all before it.

    Args:
        entries: in any order; those without date or number are left out.
        number: what is compared; higher is better.
    """
    steps: list[tuple[date, Entry]] = []
    best = float("-inf")
    numbers = [(entry, number(entry)) for entry in dated(entries)]
    known = [(entry, value) for entry, value in numbers if value is not None]
    # Of a day, the best comes first: the others then pass nobody.
    for entry, value in sorted(known, key=lambda pair: (_day(pair[0]), -pair[1], pair[0].name)):
        if value > best:
            steps.append((_day(entry), entry))
            best = value
    return steps


def half_years(start: date, end: date) -> float:
    """Returns the time between two days in half years."""
    return (end - start).days / DAYS_PER_HALF_YEAR


def decades_per_half_year(table: ValueTable) -> tuple[float, Entry] | None:
    """Returns the pace of value since the baseline.

    Returns:
        Value per six months from the baseline (value 0) to the best model of the table's last half
        year, and that model; None where dates are missing. Own models do not count.
    """
    start = table.find(table.baseline, "baseline")
    later = [e for e in dated(table.placed()) if not e.own]
    if start.released is None or not later:
        return None
    last = _day(later[-1])
    newest = [entry for entry in later if (last - _day(entry)).days <= _NEWEST_DAYS]
    best = max(newest, key=lambda entry: entry.value.value if entry.value else float("-inf"))
    time = half_years(start.released.day, _day(best))
    if time <= 0 or best.value is None:
        return None
    return best.value.value / time, best


def _day(entry: Entry) -> date:
    assert entry.released is not None
    return entry.released.day
