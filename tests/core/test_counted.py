"""Counts with their unit."""

from __future__ import annotations

import pytest

from core.counted import counted


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 shards"),
        (1, "1 shard"),
        (12_345, "12,345 shards"),
        (1.0, "1 shard"),
        (0.5, "0.5 shards"),
    ],
)
def test_one_is_singular(count: float, shown: str) -> None:
    assert counted(count, "shard") == shown


def test_a_plural_of_its_own() -> None:
    assert counted(1, "query", "queries") == "1 query"
    assert counted(3, "query", "queries") == "3 queries"
