"""The plan against what must hold for any documents: disjoint epochs of the asked-for size."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from corpus import replay_plan
from corpus.replay_plan import (
    INDEX,
    Part,
    Plan,
    epoch_budgets,
    load_order,
    plan_epochs,
    replay_key,
    survey,
    text_id,
)

SPECIAL = 2


def _index(
    documents: int, seed: int = 0, longest: int = 3000, sampled: int = 1024
) -> list[pa.RecordBatch]:
    """Documents of random length with a token for every four bytes, in batches."""
    rng = random.Random(seed)
    rows = []
    for _ in range(documents):
        size = rng.randrange(40, longest)
        rows.append({"key": rng.randrange(1 << 64), "bytes": size})
    for row in sorted(rows, key=lambda row: row["key"])[:sampled]:
        row["sample_bytes"], row["sample_tokens"] = row["bytes"], row["bytes"] // 4
    table = pa.Table.from_pylist(rows, schema=INDEX)
    batches: list[pa.RecordBatch] = table.to_batches(max_chunksize=100)
    return batches


def _plan(batches: list[pa.RecordBatch], budgets: list[int]) -> list[Part]:
    def again() -> Iterator[pa.RecordBatch]:
        return iter(batches)

    return plan_epochs(load_order(again, survey(batches), budgets, SPECIAL), budgets)


def _held(batches: list[pa.RecordBatch], part: Part) -> dict[int, int]:
    """Keys and bytes of the documents in a part, each text once."""
    rows = pa.Table.from_batches(batches).to_pylist()
    first, last = int(part.first, 16), int(part.last, 16)
    return {row["key"]: row["bytes"] for row in rows if first <= row["key"] <= last}


def test_budgets_are_a_share_of_all_tokens() -> None:
    assert epoch_budgets(950, 0.05, 1.0) == [50]
    assert epoch_budgets(500, 0.5, 2.5) == [500, 500, 250]
    assert epoch_budgets(1000, 0.2, 0.3) == [75]
    assert epoch_budgets(1000, 0.2, 0.1 * 30) == [250, 250, 250]


@pytest.mark.parametrize("seed", range(8))
def test_epochs_are_disjoint_and_of_the_right_size(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(replay_plan, "PART_TOKENS", 7000)
    batches = _index(2000, seed)
    budgets = [40_000, 40_000, 20_000]
    parts = _plan(batches, budgets)
    assert [p.epoch for p in parts] == sorted(p.epoch for p in parts)
    seen: set[int] = set()
    for epoch, budget in enumerate(budgets):
        tokens = 0
        for part in (p for p in parts if p.epoch == epoch):
            held = _held(batches, part)
            assert len(held) == part.documents
            assert not seen & set(held)
            seen |= set(held)
            here = sum(size // 4 + SPECIAL for size in held.values())
            # The estimate: the sample rounds its tokens down.
            assert part.tokens == pytest.approx(here, rel=0.01)
            assert 3000 < here < 12_000
            tokens += here
        # Documents have 750 tokens at most: half of one at either end.
        assert abs(tokens - budget) < 750 + 0.01 * budget
    # The smallest keys, without a gap.
    keys = sorted(row["key"] for row in pa.Table.from_batches(batches).to_pylist())
    assert sorted(seen) == keys[: len(seen)]


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_does_not_depend_on_how_documents_come(seed: int) -> None:
    batches = _index(1500, seed)
    table = pa.Table.from_batches(batches)
    mixed = table.take(np.random.default_rng(seed).permutation(table.num_rows))
    again = mixed.to_batches(max_chunksize=333)
    for budgets in ([30_000, 15_000], [10], [100, 100, 100, 100], [200_000]):
        assert _plan(batches, budgets) == _plan(again, budgets)


def test_only_the_smallest_keys_are_kept_in_memory() -> None:
    batches = _index(20_000)
    found = survey(batches)
    order = load_order(lambda: batches, found, [30_000], SPECIAL)
    assert 30_000 < order.tokens < 60_000
    assert len(order.keys) < 400
    # All of them give the same plan.
    budgets = [30_000]
    whole = load_order(lambda: batches, found, [10**9], SPECIAL)
    assert len(whole.keys) == 20_000
    assert plan_epochs(order, budgets) == plan_epochs(whole, budgets)


def test_the_same_text_twice_counts_once() -> None:
    batches = _index(1000)
    twice = [*batches, *batches, *batches]
    budgets = [50_000, 25_000]
    assert _plan(batches, budgets) == _plan(twice, budgets)
    assert survey(twice).documents == 3000
    assert survey(twice).sample_tokens == survey(batches).sample_tokens


def test_every_epoch_has_a_document() -> None:
    parts = _plan(_index(50), [1, 1, 1, 1])
    assert [(p.epoch, p.documents) for p in parts] == [(n, 1) for n in range(4)]
    assert len({p.first for p in parts}) == 4


def test_too_little_text_starts_over() -> None:
    batches = _index(100)
    found = survey(batches)
    order = load_order(lambda: batches, found, [10**6], SPECIAL)
    budgets = [order.tokens * 3 // 4] * 4
    parts = plan_epochs(order, budgets)
    # Four times three quarters: three times everything.
    assert sum(p.documents for p in parts) == 300
    assert [p.epoch for p in parts] == [0, 1, 1, 2, 2, 3]
    for epoch, budget in enumerate(budgets):
        tokens = sum(p.tokens for p in parts if p.epoch == epoch)
        assert tokens == pytest.approx(budget, abs=750)
    (everything,) = {p for p in plan_epochs(order, [order.tokens])}
    assert (everything.documents, everything.tokens) == (100, order.tokens)


def test_the_sample_is_the_smallest_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_plan, "SAMPLE_DOCUMENTS", 10)
    batches = _index(500, sampled=60)
    rows = sorted(pa.Table.from_batches(batches).to_pylist(), key=lambda row: row["key"])
    found = survey(batches)
    assert found.sample_bytes == sum(row["bytes"] for row in rows[:10])
    assert found.bytes == sum(row["bytes"] for row in rows)


def test_a_plan_survives_json() -> None:
    parts = _plan(_index(100), [5000, 2500])
    plan = Plan(parts, 0.25, [5000, 2500], 100, 150_000, 0.2)
    assert Plan.from_json(plan.to_json()) == plan


def test_the_id_is_the_text_and_the_key_is_seeded() -> None:
    assert text_id("web", b"Titan") != text_id("web", b"Titan.")
    assert text_id("web", b"Titan").startswith("web:")
    keys = [replay_key(1, f"web:{n}") for n in range(2000)]
    assert len(set(keys)) == 2000
    # Even over the range: each half within five standard deviations.
    assert 890 < sum(key < 1 << 63 for key in keys) < 1110
    assert replay_key(1, "web:0") != replay_key(2, "web:0")
