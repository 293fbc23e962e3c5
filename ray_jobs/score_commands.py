"""Commands of the eval group around scores: all tables, a comparison, somebody's predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.errors import UsageError
from core.recipe import load_recipe
from ray_jobs.execute import execute
from ray_jobs.options import (
    DEMO,
    Address,
    AsJson,
    Overrides,
    RecipeFile,
    Workers,
    example,
    print_json,
)
from ray_jobs.pipeline import context_of

SCORE_OWN_COMMANDS = ("eval.scores",)
"""Stages whose command does more than run them."""


def add_score_commands(eval_app: typer.Typer) -> None:
    """Adds the commands to the group."""
    eval_app.command("scores", epilog=example(f"astromill eval scores {DEMO}"))(_scores)
    eval_app.command(
        "compare",
        epilog=example(
            f"astromill eval compare {DEMO} base merged --topics",
            f"astromill eval compare {DEMO} merged:letter merged:reasoning",
            f"astromill eval compare {DEMO} --json",
        ),
    )(_compare)
    eval_app.command(
        "score-file",
        epilog=example("astromill eval score-file predictions.csv questions_with_key.csv"),
    )(_score_file)


def _scores(
    recipe: RecipeFile, set_: Overrides = None, workers: Workers = None, address: Address = None
) -> None:
    """Show accuracies, comparisons, calibration, position bias and contamination.

    Runs stage `eval.scores` alone; the questions must be answered.
    """
    from eval.scores.stage import SCORES_NAME
    from eval.scores.table import score_table
    from eval.scores.tables import detail_tables

    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(only="eval.scores"), address=address, workers=workers)
    ctx = context_of(loaded)
    path = ctx.folder("eval.scores") / SCORES_NAME
    scores = json.loads(path.read_text(encoding="utf-8"))
    console = Console()
    console.print(score_table(scores))
    for table in detail_tables(scores):
        console.print(table)
    for sentence in scores["verdicts"]:
        console.print(f"- {sentence}", markup=False, highlight=False)


def _compare(
    recipe: RecipeFile,
    a: Annotated[
        str | None, typer.Argument(help="A model of the tables, or MODEL:MODE; default: all.")
    ] = None,
    b: Annotated[str | None, typer.Argument(help="The one compared with it.")] = None,
    topics: Annotated[bool, typer.Option("--topics", help="Compare in every topic, too.")] = False,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compare two models on the questions that both were asked, or all models in pairs.

    Gives the difference with its interval and McNemar's exact test. Reads what `eval scores` wrote
    and starts nothing.
    """
    from eval.scores.answered import read_answered
    from eval.scores.paired import pairs_of
    from eval.scores.tables import paired_table

    if (a is None) != (b is None):
        raise UsageError(
            "one model alone cannot be compared",
            where="command line",
            remedy="name two, or none for all pairs",
        )
    if topics and a is None:
        raise UsageError(
            "--topics needs two models", where="command line", remedy="name the two to compare"
        )
    loaded = load_recipe(recipe, set_ or [])
    ctx = context_of(loaded)
    answered = read_answered(ctx.folder("eval.scores"))
    if a is not None and b is not None:
        pairs = [(answered.label(a), answered.label(b))]
    else:
        pairs = pairs_of(list(answered.marks), every=True)
    found = answered.by_group(pairs)
    by_topic = answered.by_topic(*pairs[0]) if topics else []
    if as_json:
        print_json({"paired": found, "topics": by_topic})
        return
    console = Console()
    console.print(paired_table(found))
    if topics:
        console.print(paired_table(by_topic, "By topic"))


def _score_file(
    predictions: Annotated[
        Path, typer.Argument(help="CSV: item_id and prediction, or question and a column a model.")
    ],
    key: Annotated[Path, typer.Argument(help="The questions with their answers.")],
    free_text: Annotated[
        bool, typer.Option("--free-text", help="Predictions are whole answers; read the letter.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a file of predictions against a key: accuracies with intervals, models in pairs.

    Needs no recipe. Empty, unreadable and left-out predictions count as wrong.
    """
    from eval.scores.submitted import score_file
    from eval.scores.tables import paired_table, submitted_table

    found = score_file(predictions, key, free_text)
    record = found.record(every_pair=True)
    if as_json:
        print_json(record)
        return
    console = Console()
    console.print(submitted_table(record))
    if found.unknown_rows:
        shown = "; ".join(found.unknown)
        console.print(
            f"rows of no question of the key: {found.unknown_rows:,} ({shown})",
            markup=False,
            highlight=False,
        )
    if found.unkeyed:
        console.print(f"rows of questions without a key: {found.unkeyed:,}", highlight=False)
    if record["paired"]:
        console.print(paired_table(record["paired"]))
