"""Packing against what must hold for any runs: each token once, in order, traceable."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.packing import Layout, Packed, TokenRun, pack, row_group_rows
from core.schema import token_sequence

PAD = -1


def _runs(rng: random.Random, longest: int) -> list[TokenRun]:
    runs, token = [], 0
    for number in range(rng.randrange(1, 12)):
        length = rng.randrange(1, longest + 1)
        mask = [rng.randrange(2) for _ in range(length)]
        runs.append(TokenRun(f"d{number}", list(range(token, token + length)), mask))
        token += length
    return runs


def _check(packed: Packed, runs: list[TokenRun], length: int, in_order: bool = True) -> None:
    """Rebuilds the runs from the sequences and counts everything again."""
    by_doc = {run.doc_id: run for run in runs}
    rows: list[dict[str, Any]] = packed.table.to_pylist()
    laid: list[int] = []
    stretches: dict[str, list[tuple[int, int]]] = {}
    trained = padding = 0
    for row in rows:
        position = 0
        for span in row["spans"]:
            assert span["start"] == position
            run = by_doc[span["doc_id"]]
            here = slice(position, position + span["length"])
            there = slice(span["doc_start_token"], span["doc_start_token"] + span["length"])
            assert row["input_ids"][here] == run.ids[there]
            assert row["position_ids"][here] == list(range(span["length"]))
            assert run.mask is not None
            assert row["loss_mask"][here] == [0, *run.mask[there][1:]]
            laid += row["input_ids"][here]
            stretches.setdefault(run.doc_id, []).append((there.start, there.stop))
            position += span["length"]
        rest = length - position
        assert row["input_ids"][position:] == [PAD] * rest
        assert row["loss_mask"][position:] == [0] * rest
        assert row["position_ids"][position:] == list(range(rest))
        trained += sum(row["loss_mask"])
        padding += rest
    # Tokens are numbered over all runs.
    assert (laid if in_order else sorted(laid)) == [token for run in runs for token in run.ids]
    cut = sum(len(parts) > 1 for parts in stretches.values())
    tokens = sum(len(run.ids) for run in runs)
    assert (packed.tokens, packed.trained_tokens) == (tokens, trained)
    assert (packed.padding_tokens, packed.runs_cut) == (padding, cut)
    assert tokens + padding == len(rows) * length
    assert packed.metrics == {
        "sequences": len(rows),
        "tokens": tokens,
        "trained_tokens": trained,
        "padding_tokens": padding,
        "runs_cut": cut,
    }


@pytest.mark.parametrize("seed", range(60))
def test_end_to_end_every_token_lies_once_in_order(seed: int) -> None:
    rng = random.Random(seed)
    length = rng.randrange(1, 17)
    runs = _runs(rng, longest=50)
    packed = pack(runs, length, PAD)
    _check(packed, runs, length)
    assert packed.padding_tokens < length


@pytest.mark.parametrize("seed", range(60))
def test_unsplit_runs_stay_whole(seed: int) -> None:
    rng = random.Random(seed)
    length = rng.randrange(4, 30)
    runs = _runs(rng, longest=length)
    packed = pack(runs, length, PAD, "whole")
    _check(packed, runs, length)
    assert packed.runs_cut == 0
    # Greedy: the run that opens a sequence would not have fitted the one before.
    rows = packed.table.to_pylist()
    for row, after in itertools.pairwise(rows):
        used = sum(s["length"] for s in row["spans"])
        assert used + after["spans"][0]["length"] > length


def _naive_best_fit(lengths: list[int], room: int) -> int:
    """Sequences that best-fit-decreasing needs, by looking at every sequence for every run."""
    full, rest = sum(n // room for n in lengths), sorted((n % room for n in lengths), reverse=True)
    free: list[int] = []
    for length in (n for n in rest if n):
        fits = [i for i, left in enumerate(free) if left >= length]
        if fits:
            free[min(fits, key=lambda i: free[i])] -= length
        else:
            free.append(room - length)
    return full + len(free)


@pytest.mark.parametrize("seed", range(60))
def test_best_fit_cuts_only_what_is_too_long(seed: int) -> None:
    rng = random.Random(seed)
    length = rng.randrange(2, 40)
    runs = _runs(rng, longest=90)
    packed = pack(runs, length, PAD, "best_fit")
    _check(packed, runs, length, in_order=False)
    lengths = [len(run.ids) for run in runs]
    assert packed.runs_cut == sum(n > length for n in lengths)
    assert packed.table.num_rows == _naive_best_fit(lengths, length)
    # No more pieces than a run of this length must have.
    pieces = Counter(s["doc_id"] for row in packed.table["spans"].to_pylist() for s in row)
    assert [pieces[run.doc_id] for run in runs] == [-(-n // length) for n in lengths]
    assert packed.table.equals(pack(iter(runs), length, PAD, "best_fit").table)


def test_best_fit_by_hand() -> None:
    runs = [
        TokenRun(name, [ord(name)] * n) for name, n in zip("abcde", (3, 13, 6, 2, 4), strict=True)
    ]
    packed = pack(runs, 8, 0, "best_fit")
    rows = [[(s["doc_id"], s["length"]) for s in row] for row in packed.table["spans"].to_pylist()]
    # 8 of b are a full sequence; then c 6, b 5, e 4, a 3, d 2, each where it fits best.
    assert rows == [[("a", 3), ("b", 5)], [("b", 8)], [("c", 6), ("d", 2)], [("e", 4)]]
    assert (packed.runs_cut, packed.padding_tokens, packed.tokens) == (1, 4, 28)
    assert packed.trained_tokens == 28 - 6


def test_best_fit_of_many_short_runs_is_quick_and_tight() -> None:
    rng = random.Random(0)
    runs = [TokenRun(str(n), np.zeros(rng.randrange(1, 600), np.int32)) for n in range(20_000)]
    started = time.perf_counter()
    packed = pack(runs, 2048, 0, "best_fit")
    assert time.perf_counter() - started < 5
    assert packed.padding_tokens / packed.tokens < 0.001
    assert packed.runs_cut == 0


def test_lists_and_arrays_with_and_without_mask_are_the_same() -> None:
    lists = [TokenRun("a", [1, 2, 3], [1, 1, 1]), TokenRun("b", [4, 5], [1, 1])]
    arrays = [TokenRun(r.doc_id, np.array(r.ids, dtype=np.int32)) for r in lists]
    layouts: tuple[Layout, ...] = ("concat", "best_fit", "whole")
    for layout in layouts:
        assert pack(lists, 4, 0, layout).table.equals(pack(arrays, 4, 0, layout).table)


def test_the_table_is_what_arrow_makes_of_rows() -> None:
    rng = random.Random(3)
    table = pack(_runs(rng, longest=30), 16, PAD).table
    again = pa.Table.from_pylist(table.to_pylist(), schema=token_sequence(16))
    assert table.schema == again.schema
    assert table.equals(again)
    assert all(table[name].null_count == 0 for name in table.schema.names)


def test_a_small_case_by_hand() -> None:
    runs = [TokenRun("a", [1, 2, 3], [1, 1, 1]), TokenRun("b", [4, 5, 6, 7], [0, 0, 1, 1])]
    packed = pack(runs, 5, 0)
    assert packed.table.to_pylist() == [
        {
            "input_ids": [1, 2, 3, 4, 5],
            "loss_mask": [0, 1, 1, 0, 0],
            "position_ids": [0, 1, 2, 0, 1],
            "spans": [
                {"doc_id": "a", "doc_start_token": 0, "start": 0, "length": 3},
                {"doc_id": "b", "doc_start_token": 0, "start": 3, "length": 2},
            ],
        },
        {
            "input_ids": [6, 7, 0, 0, 0],
            "loss_mask": [0, 1, 0, 0, 0],  # 6 stands first in its sequence, without context
            "position_ids": [0, 1, 0, 1, 2],
            "spans": [{"doc_id": "b", "doc_start_token": 2, "start": 0, "length": 2}],
        },
    ]
    assert (packed.padding_tokens, packed.runs_cut, packed.trained_tokens) == (3, 1, 3)


@pytest.mark.parametrize("layout", ["concat", "best_fit", "whole"])
def test_nothing_gives_no_sequence(layout: Layout) -> None:
    packed = pack([], 8, PAD, layout)
    assert packed.table.num_rows == 0
    assert set(packed.metrics.values()) == {0}


def test_a_full_sequence_is_not_padded() -> None:
    packed = pack([TokenRun("a", [1, 2], [1, 1]), TokenRun("b", [3, 4], [1, 1])], 4, PAD)
    assert (packed.table.num_rows, packed.padding_tokens) == (1, 0)


@pytest.mark.parametrize(("length", "rows"), [(8192, 64), (512, 1024), (1 << 20, 1)])
def test_row_groups_hold_half_a_million_tokens(length: int, rows: int) -> None:
    assert row_group_rows(length) == rows
