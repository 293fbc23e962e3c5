"""Commands of the eval group around general benchmarks and the control experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.errors import InputError, UsageError
from core.recipe import LoadedRecipe, load_recipe
from core.recipe.general import General
from ray_jobs.execute import execute
from ray_jobs.options import Address, AsJson, Overrides, RecipeFile, Workers, example, print_json
from ray_jobs.pipeline import context_of

GENERAL_OWN_COMMANDS = ("eval.general", "eval.control")
"""Stages whose command does more than run them."""

_RECIPE = "recipes/astrosage-8b.yaml"


def add_general_commands(eval_app: typer.Typer) -> None:
    """Adds the commands to the group."""
    eval_app.command("general", epilog=example(f"astromill eval general {_RECIPE}"))(_general)
    eval_app.command("general-data", epilog=example(f"astromill eval general-data {_RECIPE}"))(
        _general_data
    )
    eval_app.command("control", epilog=example("astromill eval control recipes/control-demo.yaml"))(
        _control
    )


def _general(
    recipe: RecipeFile,
    set_: Overrides = None,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Show the scores on general benchmarks and draw them.

    Runs stage `eval.general` alone; the tasks must have been asked (`eval general-tasks`).
    """
    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(only="eval.general"), address=address, workers=workers)
    folder = context_of(loaded).folder("eval.general")
    found = json.loads((folder / "general.json").read_text(encoding="utf-8"))
    if as_json:
        print_json(found)
        return
    console = Console()
    for key, title in (("score", "raw"), ("normalized", "normalised: guessing is 0")):
        console.print(_score_table(found, key, title))
    console.print(f"Figures: {folder}", highlight=False, markup=False)


def _score_table(found: dict[str, Any], key: str, title: str) -> Table:
    limit = found["limit"]
    few = f"; first {limit} questions of each task" if limit else ""
    table = Table(title=f"General benchmarks, % ({title}{few})")
    table.add_column("model")
    for benchmark in found["benchmarks"]:
        table.add_column(benchmark["label"], justify="right")
    if key == "normalized":
        table.add_column("mean", justify="right")
    for model in found["models"]:
        scores = found["scores"][model]
        cells = []
        for benchmark in found["benchmarks"]:
            entry = scores.get(benchmark["key"], {})
            value, error = entry.get(key), entry.get("stderr")
            shown = "–" if value is None else f"{value:.1f}"
            cells.append(f"{shown} ± {error:.1f}" if key == "score" and error else shown)
        if key == "normalized":
            average = found["average"].get(model)
            cells.append("–" if average is None else f"{average:.1f}")
        table.add_row(escape(model), *cells)
    return table


def _general_data(recipe: RecipeFile, set_: Overrides = None) -> None:
    """Check the data of the general benchmarks, before any model is loaded.

    Shows each task's questions and the rows that could not be asked; exits with 1 where a task's
    data are missing.
    """
    loaded = load_recipe(recipe, set_ or [])
    ctx, section = context_of(loaded), _section(loaded)
    table = Table(title="General benchmarks")
    # A task's name is never cut short.
    table.add_column("task", no_wrap=True, min_width=44)
    table.add_column("questions", justify="right")
    table.add_column("bad rows", justify="right")
    table.add_column("files", justify="right")
    faults = _add_tasks(table, ctx.root, section)
    console = Console()
    console.print(table)
    # The tasks of one benchmark lack the same.
    for what, remedy in dict.fromkeys((f"{f.what} ({f.where})", f.remedy) for f in faults):
        console.print(f"[red]missing[/red]: {escape(what)}")
        console.print(f"  {escape(remedy)}")
    if faults:
        raise typer.Exit(1)


def _add_tasks(table: Table, root: Path, section: General) -> list[InputError]:
    from eval.general.files import split_files
    from eval.general.harness import builtin_tasks, known_answers
    from eval.general.lm import go_offline
    from eval.general.rows import read_split
    from eval.general.tasks import benchmark_named

    go_offline()
    index = builtin_tasks()
    faults = []
    for asked in section.tasks:
        benchmark = benchmark_named(asked.name)
        for task in benchmark.tasks:
            try:
                files = {n: split_files(root, asked.path, benchmark, task, n) for n in task.splits}
                known = known_answers(index, benchmark, task, section.nltk_data, root)
                split = read_split(files[task.split], benchmark, task, section.limit, known)
            except InputError as error:
                faults.append(error)
                continue
            bad = len(split.rejects)
            cells = (f"{len(split.rows):,}", f"{bad:,}" if bad else "", f"{_count(files):,}")
            table.add_row(task.name.removeprefix("leaderboard_"), *cells)
    return faults


def _count(files: dict[str, list[Path]]) -> int:
    return sum(map(len, files.values()))


def _control(
    recipe: RecipeFile, set_: Overrides = None, workers: Workers = None, address: Address = None
) -> None:
    """Show whether the merge's gain is practice in answering.

    Runs stage `eval.control` alone; the scores must be there (`eval scores`).
    """
    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(only="eval.control"), address=address, workers=workers)
    path = context_of(loaded).folder("eval.control") / "control.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    console = Console()
    for group in found["groups"]:
        console.print(f"[bold]{group['group']} questions[/bold]")
        for sentence in group["sentences"]:
            console.print(f"- {sentence}", markup=False, highlight=False)


def _section(loaded: LoadedRecipe) -> General:
    section = loaded.recipe.eval.general if loaded.recipe.eval else None
    if section is None:
        raise UsageError(
            "the recipe has no general benchmarks",
            where="key eval.general",
            remedy="add the section; docs/general.md shows it",
        )
    return section
