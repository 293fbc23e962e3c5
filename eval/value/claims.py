"""Claims about a table of values, worked out from the table.

A claim is data (``samples/value/claims.yaml``): what a text says, and a relation of the table with
the range that the words allow. Every number has the interval that the table's rounding leaves, so a
verdict has three steps: the number itself is in the range; it may be, for some unrounded numbers
that the table can stand for; it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log10
from typing import Any

from eval.value.claim_kinds import (
    BestValue,
    Claims,
    CorpusUsd,
    CostRatio,
    Count,
    LeadInCost,
    Matches,
    ScoreLead,
    Scores,
    SurpassedBy,
    Trend,
    Values,
)
from eval.value.equation import Rounded, log_cost_ratio
from eval.value.table import Entry, ValueTable, by_score, by_value
from eval.value.trend import decades_per_half_year

_TOLERANCE = 1e-9


class Verdict(StrEnum):
    """Whether a claim holds, the best first."""

    HOLDS = "holds"
    TO_ROUNDING = "holds to rounding"
    FAILS = "does not hold"
    UNKNOWN = "cannot be checked"


@dataclass(frozen=True)
class Finding:
    """A claim, worked out.

    Args:
        says, where, tolerance: of the claim.
        verdict: the worst of its lines.
        lines: what was found, one for each model or pair.
    """

    says: str
    where: str
    tolerance: str
    verdict: Verdict
    lines: tuple[str, ...]


_Line = tuple[Verdict, str]


def check_claims(claims: Claims, table: ValueTable) -> list[Finding]:
    """Works every claim out from the table.

    Raises:
        InputError: a claim names a model that the table does not have.
    """
    order = list(Verdict)
    findings = []
    for number, claim in enumerate(claims.claims, 1):
        lines = _WORK[type(claim)](claim, table, f"claim {number}")
        verdict = max((line[0] for line in lines), key=order.index)
        shown = tuple(text for _, text in lines)
        findings.append(Finding(claim.says, claim.where, claim.tolerance, verdict, shown))
    return findings


def judged(found: Rounded, low: float, high: float) -> Verdict:
    """Returns the verdict on a number that should lie in ``low`` .. ``high``."""
    if low - _TOLERANCE <= found.value <= high + _TOLERANCE:
        return Verdict.HOLDS
    return Verdict.TO_ROUNDING if found.meets(low, high) else Verdict.FAILS


def _entries(names: Sequence[str], table: ValueTable, where: str) -> list[Entry]:
    return [table.find(name, where) for name in names]


def _cost_ratio(claim: CostRatio, table: ValueTable, where: str) -> list[_Line]:
    low, high = (log10(end) for end in claim.between)
    base = table.find(claim.to, where)
    lines = []
    for entry in _entries(claim.of, table, where):
        ratio = cost_ratio(entry, base)
        if ratio is None:
            lines.append((Verdict.UNKNOWN, f"the cost of {entry.name} or {base.name} is not known"))
            continue
        verdict = judged(ratio, low, high)
        text = f"{entry.name} / {base.name}: {_factor(ratio)}: {verdict}"
        if low == high and verdict is Verdict.FAILS:
            text += _costs_as(entry, base, table)
        lines.append((verdict, text))
    return lines


def cost_ratio(entry: Entry, base: Entry) -> Rounded | None:
    """Returns log10 of cost / other's cost; None where one is not known."""
    if entry.log_cost is None or base.log_cost is None:
        return None
    if entry.value is None or base.value is None:
        return entry.log_cost - base.log_cost
    # By scores and values, not by costs: the baseline's rounding, in both costs, cancels.
    return log_cost_ratio(entry.score, entry.value, base.score, base.value)


def _costs_as(entry: Entry, base: Entry, table: ValueTable) -> str:
    """Returns a note on models of ``base``'s family that do cost as much, to rounding."""
    same = []
    for other in table.placed():
        ratio = cost_ratio(entry, other)
        if other.family == base.family and ratio is not None and ratio.meets(0, 0):
            same.append(other.name)
    return f" (its cost is that of {', '.join(same)})" if same else ""


def _score_lead(claim: ScoreLead, table: ValueTable, where: str) -> list[_Line]:
    base = table.find(claim.over, where)
    lines = []
    for entry in _entries(claim.of, table, where):
        lead = entry.score - base.score
        verdict = judged(lead, *claim.between)
        lines.append((verdict, f"{entry.name} over {base.name}: {_points(lead)}: {verdict}"))
    return lines


def _lead_in_cost(claim: LeadInCost, table: ValueTable, where: str) -> list[_Line]:
    base = table.find(claim.over, where)
    low, high = (log10(end) for end in claim.between)
    lines = []
    for entry in _entries(claim.of, table, where):
        worth = (entry.score - base.score).decades()
        verdict = judged(worth, low, high)
        text = f"{entry.name} over {base.name}: {_factor(worth)}: {verdict}"
        lines.append((verdict, text))
    return lines


def _corpus_usd(claim: CorpusUsd, table: ValueTable, where: str) -> list[_Line]:
    low, high = (log10(end) for end in claim.between)
    lines = []
    for entry in _entries(claim.of, table, where):
        price = table.usd(entry)
        if price is None:
            text = f"the price of {entry.name} in dollars is not known: give the baseline's"
            lines.append((Verdict.UNKNOWN, text))
            continue
        total = price + Rounded(log10(claim.tokens / 1e5))
        verdict = judged(total, low, high)
        ends = " to ".join(f"{end:,.0f}" for end in total.powers()[::2])
        text = f"{entry.name}, {claim.tokens:.2g} tokens: ${total.powers()[1]:,.0f} ({ends})"
        lines.append((verdict, f"{text}: {verdict}"))
    return lines


def _scores(claim: Scores, table: ValueTable, where: str) -> list[_Line]:
    lines = []
    for name, stated in claim.scores.items():
        entry = table.find(name, where)
        verdict = judged(entry.score, stated, stated)
        lines.append((verdict, f"{entry.name}: {entry.score.value:g}: {verdict}"))
    return lines


def _values(claim: Values, table: ValueTable, where: str) -> list[_Line]:
    lines = []
    for name, stated in claim.values.items():
        entry = table.find(name, where)
        if entry.value is None:
            lines.append((Verdict.UNKNOWN, f"the value of {entry.name} is not known"))
            continue
        verdict = judged(entry.value, stated, stated)
        lines.append((verdict, f"{entry.name}: {entry.value.value:g}: {verdict}"))
    return lines


def _count(claim: Count, table: ValueTable, where: str) -> list[_Line]:
    found = sum(not entry.own for entry in table.entries)
    verdict = Verdict.HOLDS if found == claim.models else Verdict.FAILS
    return [(verdict, f"the table has {found}: {verdict}")]


def _matches(claim: Matches, table: ValueTable, where: str) -> list[_Line]:
    entry = table.find(claim.model, where)
    low, high = entry.wilson_percent()
    lines = []
    for other in _entries(claim.others, table, where):
        verdict = judged(other.score, low, high)
        text = f"{other.name}: {other.score.value:g}, interval {low:.1f} to {high:.1f}: {verdict}"
        lines.append((verdict, text))
    return lines


def _surpassed_by(claim: SurpassedBy, table: ValueTable, where: str) -> list[_Line]:
    entry = table.find(claim.model, where)
    named = _entries(claim.others, table, where)
    above = [o for o in by_score(table.entries) if o.score.value > entry.score.value]
    lines = []
    for other in [*named, *(found for found in above if found not in named)]:
        lead = other.score - entry.score
        if other in named:
            verdict = judged(lead, _TOLERANCE * 2, 100)
            text = f"{other.name} is ahead by {_points(lead)}: {verdict}"
        else:
            verdict = judged(lead, -100, 0)
            text = f"{other.name} is ahead, too, by {_points(lead)}: {verdict}"
        lines.append((verdict, text))
    return lines or [(Verdict.HOLDS, f"no model is ahead of {entry.name}")]


def _best_value(claim: BestValue, table: ValueTable, where: str) -> list[_Line]:
    entry = table.find(claim.model, where)
    if entry.value is None:
        return [(Verdict.UNKNOWN, f"the value of {entry.name} is not known")]
    rest = [other for other in by_value(table.entries) if other is not entry]
    if not rest or rest[0].value is None:
        return [(Verdict.UNKNOWN, "no other value is known")]
    lead = entry.value - rest[0].value
    verdict = judged(lead, 0, float("inf"))
    text = f"{entry.name}: {entry.value.value:g}, next {rest[0].name}: {rest[0].value.value:g}"
    return [(verdict, f"{text}: {verdict}")]


def _trend(claim: Trend, table: ValueTable, where: str) -> list[_Line]:
    found = decades_per_half_year(table)
    if found is None:
        return [(Verdict.UNKNOWN, "too few release dates are known")]
    slope, best = found
    verdict = judged(Rounded(slope), *claim.between)
    assert best.released is not None
    text = f"{slope:.2f} decades per six months, to {best.name} of {best.released.text}: {verdict}"
    return [(verdict, text)]


_WORK: dict[type, Callable[[Any, ValueTable, str], list[_Line]]] = {
    CostRatio: _cost_ratio,
    ScoreLead: _score_lead,
    LeadInCost: _lead_in_cost,
    CorpusUsd: _corpus_usd,
    Scores: _scores,
    Values: _values,
    Count: _count,
    Matches: _matches,
    SurpassedBy: _surpassed_by,
    BestValue: _best_value,
    Trend: _trend,
}


def _factor(log: Rounded) -> str:
    low, middle, high = log.powers()
    digits = 2 if high < 10 else 1
    return f"{middle:.{digits}f} times ({low:.{digits}f} to {high:.{digits}f})"


def _points(lead: Rounded) -> str:
    return f"{lead.value:.1f} points (+-{lead.half_width:.2g})"
