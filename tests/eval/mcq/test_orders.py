"""Orders of choices: the file's own, all rotations, then others, the same every time."""

from __future__ import annotations

import math

import pytest

from eval.mcq.orders import orders


@pytest.mark.parametrize("choices", [2, 4, 5])
def test_rotations_put_every_choice_in_every_place_once(choices: int) -> None:
    shown = orders("q1", choices, choices - 1, seed=7)
    assert shown[0] == list(range(choices))
    for place in range(choices):
        assert sorted(order[place] for order in shown) == list(range(choices))


@pytest.mark.parametrize(("choices", "count"), [(2, 9), (3, 5), (3, 119), (4, 10), (4, 119)])
def test_orders_differ_and_end_when_there_are_no_more(choices: int, count: int) -> None:
    shown = orders("q1", choices, count, seed=7)
    assert len(shown) == min(count + 1, math.factorial(choices))
    assert len({tuple(order) for order in shown}) == len(shown)
    assert all(sorted(order) == list(range(choices)) for order in shown)


def test_orders_depend_on_item_and_seed_alone() -> None:
    assert orders("q1", 4, 2, seed=7) == orders("q1", 4, 3, seed=7)[:3]
    assert len({str(orders(f"q{n}", 4, 1, seed=7)) for n in range(40)}) == 3
    assert [orders(f"q{n}", 5, 2, 1) for n in range(9)] != [
        orders(f"q{n}", 5, 2, 2) for n in range(9)
    ]
    assert orders("q1", 4, 0, seed=7) == [[0, 1, 2, 3]]
