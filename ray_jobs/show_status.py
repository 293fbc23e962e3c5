"""What ``astromill status`` shows: the state and rows of every stage, and why some are stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.counted import counted
from core.graph import Pipeline, StageState

_REASONS = 3
"""That are told of a stage: a report reads what all the others made."""


def show_status(pipeline: Pipeline, console: Console) -> None:
    """Prints the stages of a recipe, then a line for each that a change has made stale."""
    states = pipeline.states()
    table = stage_table(states)
    for name, state in states.items():
        manifest = state.manifest
        counts = (manifest.rows_in, manifest.rows_out, manifest.rows_rejected) if manifest else ()
        add_stage(table, name, _state(state), counts)
    console.print(pipeline.ctx.remote or str(pipeline.ctx.run_dir), soft_wrap=True, markup=False)
    console.print(table)
    for name, state in states.items():
        if state.manifest is not None and not state.fresh:
            line = f"{name} is stale: {_why(state.reasons)}"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    stale = sum(not state.fresh for state in states.values())
    console.print(f"{stale} of {counted(len(states), 'stage')} would run", highlight=False)


def _state(state: StageState) -> str:
    if state.fresh:
        return "[green]up to date"
    return "[dim]not run" if state.manifest is None else "[yellow]stale"


def _why(reasons: Sequence[str]) -> str:
    """Returns the first reasons, those of the stage's own values among them."""
    more = len(reasons) - _REASONS
    return "; ".join(reasons[:_REASONS]) + (f"; and {more} more" if more > 0 else "")


def stage_table(names: Iterable[str], *more: str) -> Table:
    """Returns an empty table of stages.

    Args:
        names: of the stages.
        more: headers of columns after the stage, its state, and rows in, out and rejected.
    """
    # Without lines: so it fits into 80 columns with counts of a hundred million.
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    # A stage's name is what the next command needs: it is never cut short.
    table.add_column("stage", min_width=max(map(len, names), default=0), no_wrap=True)
    table.add_column("state", no_wrap=True)
    for header in ("in", "out", "rejected", *more):
        table.add_column(header, justify="right", no_wrap=True)
    return table


def add_stage(table: Table, name: str, state: str, counts: Iterable[int], *more: str) -> None:
    """Adds a stage to a table.

    Args:
        table: of :func:`stage_table`.
        name: of the stage.
        state: as rich markup.
        counts: rows in, out and rejected; empty where there are none.
        more: cells of the further columns.
    """
    cells = [f"{count:,}" for count in counts] or ["", "", ""]
    table.add_row(escape(name), state, *cells, *more)
