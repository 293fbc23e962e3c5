"""``astromill report``: the page of a run as far as it has come, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.counted import counted
from core.errors import InputError
from core.recipe import load_recipe
from ray_jobs.options import Overrides, RecipeFile, example
from ray_jobs.pipeline import build_pipeline

REPORT_STAGE = "eval.report"


def add_report_commands(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("report", epilog=example("astromill report recipes/demo.yaml --out demo.html"))(
        _report
    )


def _report(
    recipe: RecipeFile,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: report.html in the run's folder.")
    ] = None,
    set_: Overrides = None,
) -> None:
    """Write the report of what has finished so far: one HTML page; nothing is run for it.

    The stage `eval.report` writes the same page once all is done.
    """
    loaded = load_recipe(recipe, set_ or [])
    pipeline = build_pipeline(loaded)
    names = [name for name in pipeline.stages if name != REPORT_STAGE]
    path = out or loaded.run_dir / "report.html"
    if path.is_dir():
        raise InputError(
            "the page cannot be written: this is a folder",
            where=str(path),
            remedy="name a file: --out report.html",
        )
    # matplotlib and the templates are of no use to the other commands.
    from core.atomic import write_text
    from eval.report.gather import gather
    from eval.report.page import render

    data = gather(pipeline.ctx, names)
    if not data.stages:
        raise InputError(
            "no stage of this run has finished",
            where=str(loaded.run_dir),
            remedy=f"run it first: astromill run {recipe}",
        )
    write_text(path, render(loaded.recipe.name, data))
    console = Console(highlight=False)
    console.print(f"{len(data.stages)} of {counted(len(names), 'stage')} are in the report")
    console.print(str(path), soft_wrap=True, markup=False)
