"""Commands of the corpus group that are more than one stage: ``corpus sources``, ``corpus ocr``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from core.errors import InputError
from core.recipe import load_recipe
from core.recipe.ocr import Nougat, NougatCommand, Ocr
from ray_jobs.execute import execute
from ray_jobs.options import Address, Overrides, RecipeFile, Workers, example
from ray_jobs.pipeline import build_pipeline

_PLOT_NAME = "sources.png"

OWN_COMMANDS = ("corpus.ocr", "corpus.threshold")
"""Stages whose command does more than run them."""

Backend = Literal["textlayer", "nougat", "nougat-ocr"]


def add_corpus_commands(group: typer.Typer) -> None:
    """Adds the commands to the group."""
    group.command(
        "sources", epilog=example("astromill corpus sources recipes/sources.yaml --plot out.png")
    )(_sources)
    group.command(
        "ocr",
        epilog=example(
            "astromill corpus ocr paper.pdf > paper.md",
            "astromill corpus ocr scan.pdf --backend nougat --model facebook/nougat-base",
            "astromill corpus ocr recipes/demo.yaml",
        ),
    )(_ocr)
    group.command(
        "threshold",
        epilog=example(
            "astromill corpus threshold recipes/demo.yaml",
            "astromill corpus threshold recipes/demo.yaml "
            "--set corpus.perplexity.drop_quantile=0.05",
        ),
    )(_threshold)


def _threshold(
    recipe: RecipeFile,
    set_: Overrides = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Choose the perplexity threshold and show what each quantile would drop.

    Runs stage `corpus.threshold` alone; the scores must be there. Scores are not made again, so
    try values with --set.
    """
    from corpus.threshold import PAGE_NAME
    from corpus.threshold_preview import preview_table

    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(only="corpus.threshold"), address=address, workers=workers)
    folder = build_pipeline(loaded).ctx.folder("corpus.threshold")
    console = Console()
    console.print(preview_table(folder))
    page = folder / PAGE_NAME
    console.print(f"preview: {page}", highlight=False, soft_wrap=True, markup=False)


def _sources(
    recipe: RecipeFile,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Where to draw; default: in the run's corpus folder."
        ),
    ] = None,
    set_: Overrides = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Show documents and rejects by source, year, category and licence, with a plot.

    Lists and reads the sources first where that is not up to date; PDFs are not read for it.
    """
    from corpus.summary import summarize
    from ray_jobs.show_sources import plot_sources, show_sources

    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(until="corpus.ingest"), address=address, workers=workers)
    ctx = build_pipeline(loaded).ctx
    summary = summarize(ctx, [source.name for source in loaded.recipe.corpus.sources])
    console = Console()
    show_sources(summary, console)
    path = plot or ctx.run_dir / "corpus" / _PLOT_NAME
    plot_sources(summary, path)
    console.print(f"plot: {path}", highlight=False, soft_wrap=True, markup=False)


def _ocr(
    file: Annotated[
        str, typer.Argument(metavar="FILE.pdf|RECIPE", help="A PDF to print, or a recipe file.")
    ],
    backend: Annotated[
        Backend, typer.Option(help="For a PDF: how it is read. A recipe says so itself.")
    ] = "textlayer",
    model: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="For a PDF: the Nougat model, a folder or hub name."),
    ] = None,
    set_: Overrides = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Read one PDF and print its Markdown; or run a recipe's stage `corpus.ocr` alone."""
    if Path(file).suffix.lower() in (".yaml", ".yml"):
        loaded = load_recipe(file, set_ or [])
        execute(loaded, lambda p: p.select(only="corpus.ocr"), address=address, workers=workers)
        return
    from corpus.ocr import read_one
    from corpus.reading import Unreadable

    section = Ocr(
        backend=backend, nougat=Nougat(model=model), nougat_ocr=NougatCommand(checkpoint=model)
    )
    try:
        text, _ = read_one(Path(file), section)
    except Unreadable as error:
        raise InputError(
            f"{error.detail} ({error.reason.value})",
            where=file,
            remedy="a scan needs --backend nougat with --model; a locked or broken file must be "
            "replaced",
        ) from error
    sys.stdout.write(text + "\n")
