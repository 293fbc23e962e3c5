"""Joining, costs, ranks and frontier; Table 1 of the paper."""

from __future__ import annotations

import csv
import io
from math import log10

import pytest

from core.errors import InputError
from core.intervals import wilson
from eval.value.equation import Rounded
from eval.value.read import Scored
from eval.value.table import Own, ValueTable, build_table, by_score, by_value, off_list, table_csv

BASE = Scored("Base", "Us", "proprietary", Rounded(75.0, 0.05), Rounded(0.0, 0.005))


def scored(name: str, score: float, value: float | None = None, access: str = "open") -> Scored:
    published = None if value is None else Rounded(value, 0.005)
    return Scored(name, "Them", access, Rounded(score, 0.05), published)


def test_a_published_value_tells_the_cost() -> None:
    table = build_table([BASE, scored("A", 78.5, 2.0)], "base")
    entry = table.find("a", "test")
    assert entry.log_cost is not None
    assert entry.log_cost.value == pytest.approx(-1.0)
    assert entry.cost_source == "published value"


def test_a_price_gives_the_value() -> None:
    table = build_table([BASE, scored("A", 78.5)], "Base", {"base": 4.0, "a": 0.4})
    entry = table.find("A", "test")
    assert entry.value is not None
    assert entry.value.value == pytest.approx(2.0)
    # Two scores are rounded, prices are not.
    assert entry.value.half_width == pytest.approx(0.1 / 3.5)
    usd = table.usd(entry)
    assert usd is not None
    assert usd.value == pytest.approx(log10(0.4))


def test_without_value_and_price_a_model_has_a_rank_by_score_only() -> None:
    table = build_table([BASE, scored("A", 78.5)], "Base")
    entry = table.find("A", "test")
    assert (entry.placed, entry.rank_by_score, entry.rank_by_value) == (False, 1, None)
    assert not entry.frontier
    rows = list(csv.DictReader(io.StringIO(table_csv(table, by_value))))
    assert [row["model"] for row in rows] == ["Base", "A"]
    assert rows[1]["value"] == ""


def test_the_baseline_is_0_and_1_exactly() -> None:
    table = build_table([BASE, scored("A", 78.5, 2.0)], "Base")
    base = table.find("Base", "test")
    assert base.log_cost == Rounded(0.0)
    assert base.value == Rounded(0.0)


def test_equal_numbers_share_a_rank() -> None:
    rows = [BASE, scored("A", 80.0, 1.0), scored("B", 80.0, 2.0), scored("C", 70.0, 1.0)]
    table = build_table(rows, "Base")
    assert {e.name: (e.rank_by_score, e.rank_by_value) for e in table.entries} == {
        "Base": (3, 4),
        "A": (1, 2),
        "B": (1, 1),
        "C": (4, 2),
    }
    assert [e.name for e in by_score(table.entries)] == ["A", "B", "Base", "C"]
    assert [e.name for e in by_value(table.entries)] == ["B", "A", "C", "Base"]


def test_frontier() -> None:
    prices = {"base": 1.0, "best": 2.0, "cheap": 0.1, "worse": 1.5, "twin": 0.1, "dear": 3.0}
    rows = [
        Scored("Base", "Us", "open", Rounded(75.0)),
        scored("best", 90.0),
        scored("cheap", 60.0),
        scored("worse", 74.0),  # dearer and worse than the baseline
        scored("twin", 60.0),  # as good and as cheap as another: neither beats the other
        scored("dear", 90.0),  # as good, dearer
    ]
    table = build_table(rows, "Base", prices)
    assert [e.name for e in table.entries if e.frontier] == ["Base", "best", "cheap", "twin"]


def test_own_models() -> None:
    own = [
        Own("merged", 30, 40, cost_as="A"),
        Own("sft", 20, 40, usd_per_100k_tokens=0.04),
        Own("free", 20, 40),
    ]
    table = build_table([BASE, scored("A", 78.5, 2.0)], "Base", {"base": 4.0}, own=own)
    merged, sft, free = (table.find(name, "test") for name in ("merged", "sft", "free"))
    assert merged.value is not None
    assert merged.value.value == pytest.approx(1.0)
    assert (merged.cost_source, merged.questions, merged.own) == ("as A", 40, True)
    assert merged.wilson_percent() == tuple(pytest.approx(100 * end) for end in wilson(30, 40))
    assert sft.value is not None
    assert sft.value.value == pytest.approx(-25 / 3.5 + 2)
    assert not free.placed


@pytest.mark.parametrize(
    ("own", "what"),
    [
        (Own("a", 1, 2, cost_as="Base"), "as one of the table"),
        (Own("x", 1, 2, cost_as="Basis"), "no scored model"),
        (Own("x", 3, 2, cost_as="Base"), "no score"),
        (Own("x", 0, 0, cost_as="Base"), "no score"),
        (Own("x", 1, 2, usd_per_100k_tokens=1.0), "has none to compare"),
        (Own("x", 1, 2, cost_as="Unpriced"), "neither value nor price"),
    ],
)
def test_refused_own_models(own: Own, what: str) -> None:
    with pytest.raises(InputError, match=what):
        build_table([BASE, scored("A", 78.5, 2.0), scored("Unpriced", 70.0)], "Base", own=[own])


def test_refused_baselines() -> None:
    with pytest.raises(InputError, match="no scored model") as caught:
        build_table([BASE], "Bass")
    assert "'Base'" in caught.value.remedy
    with pytest.raises(InputError, match="is 2, not 0"):
        build_table([BASE, scored("A", 78.5, 2.0)], "A")


# Table 1 of AstroMLab 4


def test_table_1_is_whole(paper: ValueTable) -> None:
    assert len(paper.entries) == 123
    assert all(entry.placed for entry in paper.entries)
    assert sum(entry.released is None for entry in paper.entries) == 2
    dates = [e.released.day.isoformat() for e in paper.entries if e.released]
    assert (min(dates), max(dates)) == ("2022-11-30", "2025-12-17")


def test_ranks_of_table_1(paper: ValueTable) -> None:
    assert [e.name for e in by_score(paper.entries)][:5] == [
        "Gemini 3.0 Flash",
        "GPT-5.2",
        "AstroSage-Llama-3.1-70B",
        "Claude 4.5 Opus",
        "Gemini 3.0 Pro",
    ]
    assert [e.rank_by_score for e in by_score(paper.entries)][:5] == [1, 2, 3, 3, 5]
    assert [e.name for e in by_value(paper.entries)][:4] == [
        "AstroSage-Llama-3.1-70B",
        "Gemini 3.0 Flash",
        "gpt-oss-120b",
        "gpt-oss-20b",
    ]
    frontier = {e.name for e in paper.entries if e.frontier}
    assert {"AstroSage-Llama-3.1-70B", "AstroSage-Llama-3.1-8B", "Gemini 3.0 Flash"} <= frontier
    assert "GPT-5.2" not in frontier


def test_implied_costs_are_the_listed_prices(paper: ValueTable) -> None:
    """With GPT-4 at 30 and 60 dollars per 1M tokens, 31 of 35 others are right to rounding."""
    listed = [e for e in paper.entries if e.list_price and e.name != "GPT-4"]
    assert len(listed) == 35
    assert {e.name for e, _ in off_list(paper)} == {
        "Gemini 1.5 Pro",
        "Claude 3.5 Sonnet",
        "DeepSeek R1",
        "Grok Beta",
    }
