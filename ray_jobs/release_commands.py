"""The command ``astromill release``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.cards import CARD_NAME
from core.counted import counted
from core.errors import StageError, UsageError
from core.recipe import load_recipe
from ray_jobs.options import Overrides, RecipeFile, example
from ray_jobs.publish import check_repo, push, read_target, readable
from ray_jobs.release import Prepared, prepare_release, release_section


def add_release_commands(app: typer.Typer) -> None:
    """Adds ``release``."""
    app.command(
        "release",
        epilog=example(
            "astromill release recipes/demo.yaml --out release",
            "astromill release recipes/astrosage-8b.yaml --repo-id my-group/AstroSage-8B",
            "astromill release recipes/astrosage-8b.yaml --repo-id my-group/AstroSage-8B --yes",
        ),
    )(_release)


def _release(
    recipe: RecipeFile,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; default: release in the run.")
    ] = None,
    repo_id: Annotated[
        str | None, typer.Option(metavar="NAMESPACE/NAME", help="Repository on the Hub.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Push it; without, the files are listed and none is sent.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Push to this branch.")
    ] = None,
    set_: Overrides = None,
) -> None:
    """Write the finished model with its card into a folder, check it, and publish it.

    Needs the recipe's section `release`. The Hub's token comes from HF_TOKEN alone.
    """
    if yes and repo_id is None:
        raise UsageError(
            "where to push is not said", where="option --yes", remedy="add --repo-id NAMESPACE/NAME"
        )
    if repo_id is not None:
        check_repo(repo_id)
    loaded = load_recipe(recipe, set_ or [])
    section = release_section(loaded)
    # What is wrong with the token or address is said before anything is hashed.
    target = read_target(repo_id, revision, private) if repo_id and yes else None
    console = Console(highlight=False, soft_wrap=True)
    folder = (out or loaded.run_dir / "release").absolute()
    prepared = prepare_release(loaded, section, folder, repo_id)
    _show(prepared, section.name, repo_id, console)
    if target is not None:
        console.print(f"pushed: {push(prepared.publication, target)}", markup=False)
    elif repo_id is not None:
        console.print(f"nothing was sent. To push it to {repo_id}: the same command with --yes")


def _show(prepared: Prepared, name: str, repo_id: str | None, console: Console) -> None:
    for text in prepared.findings.notes:
        console.print(f"note: {text}", markup=False)
    if prepared.findings.blocking:
        for text in prepared.findings.blocking:
            console.print(f"stops it: {text}", markup=False)
        raise StageError(
            f"{name} cannot go out: {counted(len(prepared.findings.blocking), 'fault')}",
            where="; ".join(prepared.findings.blocking[:3]),
            remedy="mend what is listed and run the same command again",
        )
    publication = prepared.publication
    if repo_id is not None:
        table = Table("file", title=f"model {repo_id}")
        table.add_column("size", justify="right")
        for file, size in publication.sizes_bytes.items():
            table.add_row(file, readable(size))
        table.add_row(f"{CARD_NAME}, with its picture", "")
        console.print(table)
    total = readable(publication.total_bytes)
    console.print(
        f"{name}: {counted(len(publication.files), 'file')}, {total}, hashes checked, loads in "
        f"transformers: {prepared.folder}",
        markup=False,
    )
