"""The table of values: every model with score, cost, value, ranks and frontier.

Cost and value of a model follow from each other by Equation 1:

* a published value gives the cost that it was computed with, within rounding;
* a price gives the value, for models without a published one;
* an own model takes the cost of another (AstroMLab 4, section 4.2: the AstroSage models that of
  the Llama 3.1 of their size, since they share its architecture), or a price.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import log10
from typing import Any

from core.errors import InputError
from core.intervals import wilson
from eval.value.equation import Rounded, log_relative_cost
from eval.value.names import name_key, unknown_name
from eval.value.read import Release, Scored

QUESTIONS = 3846
"""Of AstroMLab-1 as Table 1 scores it (AstroMLab 4, section 4.1)."""
PUBLISHED, PRICE = "published value", "price"


@dataclass(frozen=True)
class Own:
    """A model of ours.

    Args:
        name: in table and figures.
        correct, total: right answers and questions.
        cost_as: the model of the table that costs as much, or None where a price is given.
        usd_per_100k_tokens: the price, or None.
        family: for its colour.
        released: for the second figure.
    """

    name: str
    correct: int
    total: int
    cost_as: str | None = None
    usd_per_100k_tokens: float | None = None
    family: str = "own"
    released: Release | None = None


@dataclass(frozen=True)
class Entry:
    """A model of the table.

    Args:
        name, family, access: as in the scores' table.
        score: percentage points.
        questions: of the benchmark.
        value: value score; None where neither value nor price is known.
        log_cost: log10 of cost / baseline's cost; None likewise.
        cost_source: where the cost is from, in words.
        list_price: US dollars per 0.1M tokens by the prices' table; None where it has none.
        released: release date, where known.
        own: a model of ours.
        rank_by_score, rank_by_value: 1 is the best; equal numbers share a rank.
        frontier: no model of at most its cost scores as much.
    """

    name: str
    family: str
    access: str
    score: Rounded
    questions: int
    value: Rounded | None = None
    log_cost: Rounded | None = None
    cost_source: str = ""
    list_price: float | None = None
    released: Release | None = None
    own: bool = False
    rank_by_score: int = 0
    rank_by_value: int | None = None
    frontier: bool = False

    @property
    def placed(self) -> bool:
        """Whether its cost is known."""
        return self.log_cost is not None

    def wilson_percent(self) -> tuple[float, float]:
        """Returns the 95% Wilson interval of the score, in percentage points."""
        low, high = wilson(round(self.score.value / 100 * self.questions), self.questions)
        return 100 * low, 100 * high


@dataclass(frozen=True)
class ValueTable:
    """All models.

    Args:
        entries: in the order of the scores' table, own models last.
        baseline: name of the model of value 0.
        baseline_usd: its price in US dollars per 0.1M tokens, where known: it turns costs
            relative to it into dollars.
        questions: of the benchmark of the scores' table.
    """

    entries: tuple[Entry, ...]
    baseline: str
    baseline_usd: float | None = None
    questions: int = QUESTIONS
    _by_key: dict[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Indexes the entries by name."""
        by_key = {name_key(entry.name): entry for entry in self.entries}
        object.__setattr__(self, "_by_key", by_key)

    def find(self, name: str, where: str) -> Entry:
        """Returns a model by its name, however it is spaced and capitalized.

        Raises:
            InputError: there is none; the message names the nearest.
        """
        entry = self._by_key.get(name_key(name))
        if entry is None:
            unknown_name(name, [entry.name for entry in self.entries], where)
        return entry

    def usd(self, entry: Entry) -> Rounded | None:
        """Returns log10 of a model's US dollars per 0.1M tokens, where that is known."""
        if entry.log_cost is None or self.baseline_usd is None:
            return None
        return entry.log_cost + Rounded(log10(self.baseline_usd))

    def placed(self) -> list[Entry]:
        """Returns the models whose cost is known."""
        return [entry for entry in self.entries if entry.placed]


def build_table(
    scores: Sequence[Scored],
    baseline: str,
    prices: dict[str, float] | None = None,
    dates: dict[str, Release] | None = None,
    own: Sequence[Own] = (),
    questions: int = QUESTIONS,
) -> ValueTable:
    """Joins scores, prices and dates by name, and ranks.

    Args:
        scores: from :func:`eval.value.read.read_scores`.
        baseline: name of the model of value 0.
        prices: US dollars per 0.1M tokens by name key.
        dates: release dates by name key.
        own: models of ours.
        questions: behind the scores.

    Raises:
        InputError: a name is not in the table, or a cost cannot be computed.
    """
    prices, dates = prices or {}, dates or {}
    known = {name_key(scored.name): scored for scored in scores}
    start = known.get(name_key(baseline))
    if start is None:
        unknown_name(baseline, [scored.name for scored in scores], "baseline")
    if start.value is not None and start.value.value != 0:
        raise InputError(
            f"the value of the baseline '{start.name}' is {start.value.value:g}, not 0",
            where="baseline",
            remedy="name the model that the published values are relative to",
        )
    baseline_usd = prices.get(name_key(start.name))
    entries = []
    for scored in scores:
        key = name_key(scored.name)
        entry = Entry(
            scored.name, scored.family, scored.access, scored.score, questions,
            list_price=prices.get(key), released=dates.get(key),
        )  # fmt: skip
        entries.append(_place(entry, scored, start, baseline_usd))
    table = ValueTable(tuple(entries), start.name, baseline_usd, questions)
    placed = [_place_own(model, table, start) for model in own]
    return replace(table, entries=tuple(ranked([*entries, *placed])))


def _place(entry: Entry, scored: Scored, start: Scored, baseline_usd: float | None) -> Entry:
    if scored is start:
        return replace(entry, value=Rounded(0.0), log_cost=Rounded(0.0), cost_source="the baseline")
    if scored.value is not None:
        cost = log_relative_cost(scored.score, scored.value, start.score)
        return replace(entry, value=scored.value, log_cost=cost, cost_source=PUBLISHED)
    if entry.list_price is None:
        return entry
    cost = _log_price(entry.list_price, baseline_usd, entry.name, start.name)
    return _valued(entry, cost, start, PRICE)


def _valued(entry: Entry, cost: Rounded, start: Scored, source: str) -> Entry:
    value = (entry.score - start.score).decades() - cost
    return replace(entry, value=value, log_cost=cost, cost_source=source)


def _log_price(usd: float, baseline_usd: float | None, name: str, baseline: str) -> Rounded:
    if baseline_usd is None:
        raise InputError(
            f"'{name}' has a price, but the baseline '{baseline}' has none to compare it with",
            where="prices",
            remedy=f"add a row for '{baseline}' to the prices' table",
        )
    return Rounded(log10(usd) - log10(baseline_usd))


def _place_own(model: Own, table: ValueTable, start: Scored) -> Entry:
    if any(name_key(entry.name) == name_key(model.name) for entry in table.entries):
        raise InputError(
            f"an own model is called '{model.name}', as one of the table is",
            where="own",
            remedy="give it another name",
        )
    if not 0 <= model.correct <= model.total or model.total == 0:
        raise InputError(
            f"'{model.name}' has {model.correct} right answers of {model.total}: no score",
            where="own",
            remedy="score it on a benchmark with a key",
        )
    score = Rounded(100 * model.correct / model.total)
    entry = Entry(
        model.name, model.family, "open", score, model.total, released=model.released, own=True
    )
    if model.cost_as is not None:
        other = table.find(model.cost_as, f"own model '{model.name}', cost_as")
        if other.log_cost is None:
            raise InputError(
                f"'{other.name}' has neither value nor price, so '{model.name}' cannot cost as it",
                where="own",
                remedy="name another model, or add its price",
            )
        return _valued(entry, other.log_cost, start, f"as {other.name}")
    if model.usd_per_100k_tokens is None:
        return entry
    usd = model.usd_per_100k_tokens
    cost = _log_price(usd, table.baseline_usd, model.name, start.name)
    return _valued(replace(entry, list_price=usd), cost, start, PRICE)


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries with ranks and the frontier, in the same order."""
    scores = [entry.score.value for entry in entries]
    values = [entry.value.value for entry in entries if entry.value is not None]
    return [
        replace(
            entry,
            rank_by_score=1 + sum(score > entry.score.value for score in scores),
            rank_by_value=(
                None
                if entry.value is None
                else 1 + sum(value > entry.value.value for value in values)
            ),
            frontier=_on_frontier(entry, entries),
        )
        for entry in entries
    ]


def _on_frontier(entry: Entry, entries: Sequence[Entry]) -> bool:
    """Returns whether nothing is as good and as cheap, and better in one of the two."""
    if entry.log_cost is None:
        return False
    mine = (entry.score.value, -entry.log_cost.value)
    for other in entries:
        if other.log_cost is not None:
            theirs = (other.score.value, -other.log_cost.value)
            if theirs[0] >= mine[0] and theirs[1] >= mine[1] and theirs != mine:
                return False
    return True


def by_value(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries of known value, best first; equal ones by name."""
    return sorted(
        (entry for entry in entries if entry.value is not None),
        key=lambda entry: (entry.rank_by_value or 0, entry.name),
    )


def by_score(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries by score, best first; equal ones by name."""
    return sorted(entries, key=lambda entry: (entry.rank_by_score, entry.name))


def in_order(table: ValueTable, order: Callable[[Sequence[Entry]], list[Entry]]) -> list[Entry]:
    """Returns all models: as ``order`` has them, then, by score, those that it leaves out."""
    first = order(table.entries)
    return [*first, *(entry for entry in by_score(table.entries) if entry not in first)]


def off_list(table: ValueTable) -> list[tuple[Entry, float]]:
    """Returns models whose listed price the published value does not hold, to rounding.

    Returns:
        Model and log10(implied cost / listed price), the farthest first.
    """
    found = []
    for entry in table.entries:
        implied = table.usd(entry)
        if entry.cost_source == PUBLISHED and entry.list_price and implied is not None:
            listed = log10(entry.list_price)
            if not implied.meets(listed, listed):
                found.append((entry, implied.value - listed))
    return sorted(found, key=lambda pair: (-abs(pair[1]), pair[0].name))


def entry_record(entry: Entry, table: ValueTable) -> dict[str, Any]:
    """Returns a model as a row of ``table.csv``; None where something is not known."""
    low, high = entry.wilson_percent()
    cost = entry.log_cost.powers() if entry.log_cost else (None, None, None)
    logarithm = table.usd(entry)
    usd = logarithm.powers() if logarithm else (None, None, None)
    value = entry.value
    return {
        "rank_by_score": entry.rank_by_score,
        "rank_by_value": entry.rank_by_value,
        "model": entry.name,
        "family": entry.family,
        "access": entry.access,
        "own": entry.own,
        "questions": entry.questions,
        "score_percent": entry.score.value,
        "score_low_percent": low,
        "score_high_percent": high,
        "value": value.value if value else None,
        "value_low": value.low if value else None,
        "value_high": value.high if value else None,
        "relative_cost": cost[1],
        "relative_cost_low": cost[0],
        "relative_cost_high": cost[2],
        "usd_per_0.1m_tokens": usd[1],
        "usd_per_0.1m_tokens_low": usd[0],
        "usd_per_0.1m_tokens_high": usd[2],
        "cost_source": entry.cost_source or None,
        "list_usd_per_0.1m_tokens": entry.list_price,
        "frontier": entry.frontier,
        "released": entry.released.text if entry.released else None,
    }


def table_csv(table: ValueTable, order: Callable[[Sequence[Entry]], list[Entry]]) -> str:
    """Returns all models as CSV, in an order as for :func:`in_order`."""
    records = [entry_record(entry, table) for entry in in_order(table, order)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _cell(value) for key, value in record.items()})
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
