"""Packing against what must hold for any runs: each token once, in order, traceable."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from core.packing import Packed, TokenRun, pack, row_group_rows

PAD = -1


def _runs(rng: random.Random, longest: int) -> list[TokenRun]:
    runs, token = [], 0
    for number in range(rng.randrange(1, 12)):
        length = rng.randrange(1, longest + 1)
        mask = [rng.randrange(2) for _ in range(length)]
        runs.append(TokenRun(f"d{number}", list(range(token, token + length)), mask))
        token += length
    return runs


def _check(packed: Packed, runs: list[TokenRun], length: int) -> None:
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
    assert laid == [token for run in runs for token in run.ids]
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
    packed = pack(runs, length, PAD, split=False)
    _check(packed, runs, length)
    assert packed.runs_cut == 0
    # Greedy: the run that opens a sequence would not have fitted the one before.
    rows = packed.table.to_pylist()
    for row, after in itertools.pairwise(rows):
        used = sum(s["length"] for s in row["spans"])
        assert used + after["spans"][0]["length"] > length


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


def test_nothing_gives_no_sequence() -> None:
    packed = pack([], 8, PAD)
    assert packed.table.num_rows == 0
    assert set(packed.metrics.values()) == {0}


def test_a_full_sequence_is_not_padded() -> None:
    packed = pack([TokenRun("a", [1, 2], [1, 1]), TokenRun("b", [3, 4], [1, 1])], 4, PAD)
    assert (packed.table.num_rows, packed.padding_tokens) == (1, 0)


@pytest.mark.parametrize(("length", "rows"), [(8192, 64), (512, 1024), (1 << 20, 1)])
def test_row_groups_hold_half_a_million_tokens(length: int, rows: int) -> None:
    assert row_group_rows(length) == rows
