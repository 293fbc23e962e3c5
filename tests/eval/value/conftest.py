"""The paper's table, read once, and a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.value.read import read_dates, read_prices, read_scores
from eval.value.table import ValueTable, build_table

SAMPLES = Path(__file__).parents[3] / "samples" / "value"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture(scope="session")
def paper() -> ValueTable:
    """Table 1 of AstroMLab 4 with list prices and release dates."""
    scores = read_scores([SAMPLES / "astromlab4_table1.csv"])
    names = [scored.name for scored in scores]
    return build_table(
        scores,
        "GPT-4",
        read_prices(SAMPLES / "list_prices.csv", names),
        read_dates(SAMPLES / "release_dates.csv", names),
    )
