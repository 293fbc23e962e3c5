"""The table of a recipe's stages, on a terminal of 80 columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from core.recipe import load_recipe
from ray_jobs.pipeline import build_pipeline
from ray_jobs.show_status import add_stage, show_status, stage_table

LONGEST = "synth.summary_conversations"


@pytest.mark.parametrize(
    ("state", "counts", "more"),
    [
        ("[green]up to date", (123_456_789, 123_456_789, 1_234_567), []),
        ("[green]done", (1_234_567, 1_234_567, 1_234), ["12,345 s"]),
    ],
)
def test_nothing_is_folded_or_cut(state: str, counts: tuple[int, ...], more: list[str]) -> None:
    table = stage_table([LONGEST], *["took"] * len(more))
    add_stage(table, LONGEST, state, counts, *more)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table)
    head, _, row, *rest = console.export_text().splitlines()
    assert head.split() == ["stage", "state", "in", "out", "rejected", *["took"] * len(more)]
    assert row.startswith(f"{LONGEST}  {state.partition(']')[2]}  ")
    assert row.split()[-len(counts) - 2 * len(more) :] == [
        *(f"{count:,}" for count in counts),
        *" ".join(more).split(),
    ]
    assert not rest


def test_a_recipe_that_never_ran(tmp_path: Path, write_recipe: Callable[[Path], Path]) -> None:
    pipeline = build_pipeline(load_recipe(str(write_recipe(tmp_path / "run")), []))
    console = Console(width=80, file=io.StringIO(), record=True)
    show_status(pipeline, console)
    first, *_, last = console.export_text().splitlines()
    assert first == str(tmp_path / "run")
    count = len(pipeline.stages)
    assert last == f"{count} of {count} stages would run"
