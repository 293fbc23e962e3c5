"""The command ``pull``: makes a run at a URL local."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from core.counted import counted
from core.errors import UsageError
from core.recipe import LoadedRecipe, load_recipe
from ray_jobs.options import Overrides, RecipeFile, example
from ray_jobs.pipeline import build_pipeline


def pull_for(loaded: LoadedRecipe, stage: str, *also: str) -> None:
    """Makes a stage with all it was made from local, where the run is at a URL.

    Args:
        loaded: the recipe.
        stage: which one.
        also: further stages, of which only results are needed.
    """
    if loaded.remote is None:
        return
    pipeline = build_pipeline(loaded)
    mirror = pipeline.ctx.mirror
    assert mirror is not None
    for found in pipeline.select(until=stage):
        mirror.small(found.name)
        mirror.whole(found.name)
    for name in also:
        mirror.small(name)


def _pull(
    recipe: RecipeFile,
    stages: Annotated[
        list[str] | None, typer.Argument(metavar="[STAGE]...", help="Default: every finished one.")
    ] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="The rejected rows, too.")] = False,
    set_: Overrides = None,
) -> None:
    """Copy stages of a run at a URL to this machine and say where they are.

    Most commands fetch what they read by themselves; `inspect` and your own tools take a folder.
    """
    pipeline = build_pipeline(load_recipe(recipe, set_ or []))
    mirror = pipeline.ctx.mirror
    if mirror is None:
        raise UsageError(
            "this run is not at a URL: its files are here",
            where=f"key run_dir, {pipeline.ctx.run_dir}",
            remedy="nothing need be done",
        )
    console = Console(highlight=False)
    finished = 0
    for name in stages or pipeline.stages:
        pipeline.get(name)
        if mirror.look(name) is None:
            if stages:
                raise UsageError(
                    f"stage '{name}' has no finished output",
                    where=mirror.remote.url.shown,
                    remedy=f"run it first: astromill run {recipe} --until {name}",
                )
            continue
        mirror.small(name)
        mirror.whole(name)
        if rejects:
            mirror.files(name, "rejects/")
        finished += 1
        console.print(f"{name}: {mirror.place(name)}", soft_wrap=True, markup=False)
    console.print(f"{counted(finished, 'stage')} here")


def add_storage_commands(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "pull",
        epilog=example("astromill pull recipes/mine.yaml corpus.filter --rejects"),
    )(_pull)
