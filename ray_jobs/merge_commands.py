"""Commands of the merge group that do more than run a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from core.errors import UsageError
from core.recipe import LoadedRecipe, load_recipe
from core.recipe.merge import Merge
from ray_jobs.execute import execute
from ray_jobs.options import DEMO, Address, Overrides, RecipeFile, Workers, example
from ray_jobs.pipeline import context_of

if TYPE_CHECKING:
    from merge.budget import Budget
    from merge.sweep_figure import Point

SWEEP_STAGES = ("merge.sweep", "merge.sweep_figure")

MERGE_OWN_COMMANDS = ("merge.sweep",)
"""Stages whose command does more than run them."""

_GIB = 2**30


def add_merge_commands(group: typer.Typer) -> None:
    """Adds ``check`` and ``sweep``."""
    group.command("check", epilog=example(f"astromill merge check {DEMO}"))(_check)
    shown = example(
        f"astromill merge sweep {DEMO} --set 'merge.sweep={{weights: [0, 0.25, 0.5, 0.75, 1]}}'"
    )
    group.command("sweep", epilog=shown)(_sweep)


def _section(loaded: LoadedRecipe) -> Merge:
    section = loaded.recipe.merge
    if section is None:
        raise UsageError(
            "the recipe merges nothing",
            where=str(loaded.file),
            remedy="add 'merge:' to it; recipes/demo.yaml has one",
        )
    return section


def _check(recipe: RecipeFile, set_: Overrides = None) -> None:
    """Check that the models of a merge fit together and can talk, and what it takes.

    Reads no weight. Exit code 1 where they do not, or where there is too little disk or memory.
    """
    from merge.run import check_merge
    from merge.stage import MergeInputs, MergeStage

    loaded = load_recipe(recipe, set_ or [])
    section = _section(loaded)
    ctx = context_of(loaded)
    synth = loaded.recipe.synth
    models = MergeInputs(section, synth.chat if synth else None)
    out = ctx.folder(MergeStage.name)
    budget = check_merge(section, models.folders(ctx), models.chat, out, MergeStage.name)
    console = Console(highlight=False)
    console.print(_budget_table(budget, section))
    for note in section.notes():
        console.print(f"note: {note}", markup=False)


def _budget_table(budget: Budget, section: Merge) -> Table:
    title = f"{section.method} of {len(section.models)} models: they fit together"
    table = Table("", "", title=title, show_header=False, title_justify="left")
    free = budget.free_memory_bytes
    rows = [
        ("parameters", f"{budget.parameters:,} in {budget.tensors:,} tensors"),
        ("disk", f"{_gib(budget.out_bytes)} of {_gib(budget.free_disk_bytes)} free"),
        (
            "memory",
            f"about {_gib(budget.memory_bytes)}"
            + (f" of {_gib(free)} free" if free is not None else ""),
        ),
        ("voice", section.voice_name),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _gib(size: int) -> str:
    return f"{size / _GIB:,.2f} GiB"


def _sweep(
    recipe: RecipeFile, set_: Overrides = None, workers: Workers = None, address: Address = None
) -> None:
    """Merge at every weight of `merge.sweep`, score each, and draw domain against general score.

    Runs the stages `merge.sweep` and `merge.sweep_figure`; the stages that they read must be up to
    date. A stopped sweep goes on where it was.
    """
    from merge.card import short_names
    from merge.sweep_figure import FIGURE_NAMES, TABLE_NAME, chosen_weight, read_points

    loaded = load_recipe(recipe, set_ or [])
    section = _section(loaded)
    if section.sweep is None:
        raise UsageError(
            "the recipe has no weights to sweep over",
            where=str(loaded.file),
            remedy="add them: --set 'merge.sweep={weights: [0, 0.25, 0.5, 0.75, 1]}'",
        )
    execute(loaded, lambda p: [p.get(n) for n in SWEEP_STAGES], address=address, workers=workers)
    ctx = context_of(loaded)
    console = Console(highlight=False)
    points = read_points(ctx.folder(SWEEP_STAGES[0]))
    second = short_names(section.names)[section.models[1].model]
    console.print(sweep_table(points, chosen_weight(section), second))
    folder = ctx.folder(SWEEP_STAGES[1])
    for name in (TABLE_NAME, *FIGURE_NAMES):
        console.print(str(folder / name), soft_wrap=True, markup=False)


def sweep_table(points: list[Point], chosen: float, second: str) -> Table:
    """Returns the points of a sweep as a terminal table: accuracy with its 95% interval.

    Args:
        points: by weight.
        chosen: weight of the merge itself; its row is marked.
        second: name of the model whose weight it is.
    """
    from merge.sweep_figure import is_chosen

    groups = list(dict.fromkeys(group for point in points for group in point.groups))
    table = Table(title="Merges", title_justify="left")
    table.add_column(f"weight of\n{second}", justify="right")
    for group in groups:
        table.add_column(f"{group} accuracy\n\\[95% interval]", justify="right", no_wrap=True)
    for point in points:
        mark = " (merged)" if is_chosen(point.weight, chosen) else ""
        cells = [f"{point.weight:g}{mark}"]
        for group in groups:
            score = point.groups.get(group)
            low, high = score.interval if score else (0.0, 0.0)
            cells.append(
                f"{score.accuracy:.1%} \\[{100 * low:.1f}, {100 * high:.1f}]" if score else "–"
            )
        table.add_row(*cells)
    return table
