"""Commands of the eval group around cleaning questions: run it, and check it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.counted import counted
from core.errors import UsageError
from core.recipe import load_recipe
from ray_jobs.execute import execute
from ray_jobs.judge_commands import share
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

if TYPE_CHECKING:
    from eval.cleaning.sheet import SheetScore
    from synth.judge.agreement import Agreement

CLEANING_OWN_COMMANDS = ("eval.questions_clean", "eval.questions_report")
"""Stages whose command does more than run them."""

RunPath = Annotated[
    Path, typer.Argument(metavar="RUN|FOLDER", help="A run, or a folder of cleaned questions.")
]


def add_cleaning_commands(group: typer.Typer) -> None:
    """Adds the commands to the group."""
    group.command("clean-questions", epilog=example(f"astromill eval clean-questions {DEMO}"))(
        _clean
    )
    group.command(
        "question-sheet",
        epilog=example("astromill eval question-sheet runs/demo --rows 90 --out sheet.csv"),
    )(_sheet)
    group.command(
        "score-question-sheet",
        epilog=example("astromill eval score-question-sheet sheet.csv runs/demo"),
    )(_score_sheet)


def _clean(
    recipe: RecipeFile, set_: Overrides = None, workers: Workers = None, address: Address = None
) -> None:
    """Take out or rewrite questions that need one paper, and show how many went where.

    Runs stage `eval.questions_report` and what it needs.
    """
    from eval.cleaning.report import ACCOUNT, CHANGES_NAME, CLEANED_NAME, read_counts

    loaded = load_recipe(recipe, set_ or [])
    name = CLEANING_OWN_COMMANDS[1]
    execute(loaded, lambda p: p.select(until=name), address=address, workers=workers)
    ctx = context_of(loaded)
    folder = ctx.folder(name)
    console = Console()
    table = Table("questions", "number")
    counts = read_counts(folder)
    for key in ACCOUNT:
        table.add_row(key.replace("_", " "), f"{counts[key]:,}")
    console.print(table)
    for file in (CLEANED_NAME, CHANGES_NAME):
        console.print(str(folder / file), highlight=False, soft_wrap=True, markup=False)


def _sheet(
    folder: RunPath,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="The sheet, replaced.")],
    rows: Annotated[int, typer.Option(min=1, help="Questions in it at most.")] = 90,
    blind: Annotated[
        bool,
        typer.Option("--blind/--show-verdicts", help="Leave the verdicts out, or show them."),
    ] = True,
    seed: Annotated[
        int, typer.Option(help="Chooses which questions: the same number, the same sheet.")
    ] = 42,
) -> None:
    """Write a sheet of questions for a person to judge: some kept, some rewritten, some removed."""
    from eval.cleaning.sheet import HUMAN, write_sheet
    from eval.cleaning.verdict import KINDS

    done = write_sheet(folder, rows, seed, out, blind=blind)
    parts = ", ".join(f"{kind} {mine:,} of {total:,}" for kind, (mine, total) in done.items())
    console = Console()
    console.print(f"{parts}: {escape(str(out))}", highlight=False, soft_wrap=True)
    console.print(
        f"Write {', '.join(KINDS)} into the column {HUMAN}, then: "
        f"astromill eval score-question-sheet {escape(str(out))} {escape(str(folder))}",
        highlight=False,
        soft_wrap=True,
    )


def _score_sheet(
    sheet: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The sheet, filled in.")],
    folder: RunPath,
    as_json: AsJson = False,
) -> None:
    """Score the cleaning by a sheet that a person filled in: agreement with 95% intervals."""
    from eval.cleaning.sheet import HUMAN, score_sheet

    found = score_sheet(sheet, folder)
    if not found.marked:
        raise UsageError(
            "no row of the sheet has a verdict",
            where=str(sheet),
            remedy=f"fill in the column {HUMAN} of some rows and save the sheet as CSV",
        )
    agreed = _agreement(found)
    if as_json:
        print_json(_record(found, agreed))
        return
    _show(found, agreed, Console())


def _agreement(found: SheetScore) -> Agreement:
    from eval.cleaning.verdict import KINDS
    from synth.judge.agreement import Agreement, confusion

    human = [KINDS.index(row.human) for row in found.marked]
    model = [KINDS.index(row.model) for row in found.marked]
    return Agreement("verdict", list(KINDS), confusion(human, model, len(KINDS)))


def _record(found: SheetScore, agreed: Agreement) -> dict[str, Any]:
    return {
        "marked": len(found.marked),
        "unmarked": found.unmarked,
        "agreed": {kind: found.agreed(kind) for kind in found.totals},
        "weighted_agreement": found.weighted,
        "kappa": agreed.kappa,
        "labels": list(agreed.labels),
        "counts": agreed.counts.tolist(),
        "disagreements": [
            {"item_id": r.item_id, "human": r.human, "model": r.model, "note": r.note}
            for r in found.marked
            if r.human != r.model
        ],
    }


def _show(found: SheetScore, agreed: Agreement, console: Console) -> None:
    console.print(f"{counted(len(found.marked), 'row')} with a verdict, {found.unmarked:,} without")
    for kind in found.totals:
        console.print(f"where the model says {kind}, you do: {share(found.agreed(kind))}")
    if (weighted := found.weighted) is not None:
        middle, low, high = weighted
        console.print(
            f"of all {counted(sum(found.totals.values()), 'question')} you would agree on about "
            f"{middle:.1%} ({low:.1%}-{high:.1%})"
        )
    kappa = "undefined" if agreed.kappa is None else f"{agreed.kappa:.3f}"
    console.print(f"Cohen's kappa on the sheet: {kappa}")
    table = Table("you \\ the model", *agreed.labels)
    for label, counts in zip(agreed.labels, agreed.counts, strict=True):
        table.add_row(label, *(f"{int(count):,}" for count in counts))
    console.print(table)
    differ = Table("question", "", "you", "the model", "note", title="disagreements")
    for row in found.marked:
        if row.human != row.model:
            shown = (row.item_id, row.question, row.human, row.model, row.note)
            differ.add_row(*map(escape, shown))
    if differ.row_count:
        console.print(differ)
