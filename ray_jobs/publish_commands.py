"""The commands ``astromill publish`` and ``astromill card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.cards import CARD_NAME
from core.counted import counted
from core.full_card import CardOptions, make_card
from core.lineage import open_stage
from ray_jobs.options import example
from ray_jobs.publish import (
    Publication,
    check_repo,
    prepare,
    push,
    read_target,
    readable,
    warnings_of,
)

_SHOWN = 20
"""Files that are listed one by one."""


def add_publish_commands(app: typer.Typer) -> None:
    """Adds ``publish`` and ``card``."""
    app.command(
        "publish",
        epilog=example(
            "astromill publish runs/demo/corpus/filter --repo me/astro-text --dry-run",
            "astromill publish runs/demo/train/cpt --repo me/astro-8b --private",
        ),
    )(_publish)
    app.command("card", epilog=example("astromill card runs/demo/corpus/tokens"))(_card)


StageFolder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="A stage's, such as runs/demo/corpus/filter."),
]
Title = Annotated[str | None, typer.Option(help="Title of the card.")]
Licence = Annotated[
    list[str] | None,
    typer.Option(
        "--license",
        metavar="NAME",
        help="Licence of the card, instead of what the documents state.",
    ),
]
Language = Annotated[
    list[str] | None,
    typer.Option(metavar="CODE", help="Language for the card, such as en; may be repeated."),
]
Rejects = Annotated[
    bool, typer.Option("--rejects/--no-rejects", help="Whether the rejected rows go along.")
]


def _publish(
    folder: StageFolder,
    repo: Annotated[str, typer.Option(metavar="NAMESPACE/NAME", help="Repository on the Hub.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all and show what would go; send nothing.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Push to this branch.")
    ] = None,
    title: Title = None,
    licence: Licence = None,
    language: Language = None,
    rejects: Rejects = True,
) -> None:
    """Push a data set or model to the Hugging Face Hub; the token comes from HF_TOKEN."""
    check_repo(repo)
    target = None if dry_run else read_target(repo, revision, private)
    options = CardOptions(title, tuple(licence or ()), tuple(language or ()), repo, rejects)
    publication = prepare(folder, options)
    console = Console(highlight=False, soft_wrap=True)
    show(publication, repo, console)
    if target is None:
        console.print("dry run: nothing was sent")
        return
    console.print(f"pushed: {push(publication, target)}", markup=False)


def _card(
    folder: StageFolder,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write; default: the stage's.")
    ] = None,
    title: Title = None,
    licence: Licence = None,
    language: Language = None,
) -> None:
    """Write the full card of a stage: all it was made from, with tables and a picture."""
    link = open_stage(folder)
    card = make_card(link, CardOptions(title, tuple(licence or ()), tuple(language or ())))
    console = Console(highlight=False, soft_wrap=True)
    for path in card.write(out or link.folder):
        console.print(str(path), markup=False)
    for text in card.warnings:
        console.print(f"note: {text}", markup=False)


def show(publication: Publication, repo: str, console: Console) -> None:
    """Shows what would be pushed, what stays, and what to look at."""
    table = Table("file", title=f"{publication.kind} {repo}")
    table.add_column("size", justify="right")
    files = list(publication.sizes_bytes.items())
    for name, size in files[:_SHOWN]:
        table.add_row(name, readable(size))
    if len(files) > _SHOWN:
        rest = files[_SHOWN:]
        table.add_row(f"{len(rest):,} more", readable(sum(size for _, size in rest)))
    table.add_row(f"{CARD_NAME}, the full card with its picture", "")
    console.print(table)
    console.print(
        f"{counted(len(files), 'file')}, {readable(publication.total_bytes)}, hashes checked"
    )
    if publication.left_out:
        stays = [f"{name} ({n})" if n > 1 else name for name, n in publication.left_out.items()]
        console.print(f"left out: {', '.join(stays)}", markup=False)
    for text in warnings_of(publication):
        console.print(f"note: {text}", markup=False)
