"""Commands of the synth group around the judge: its report, its measure, a person's sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    from synth.judge.agreement import Agreement
    from synth.judge.measure import Measured
    from synth.judge.sheet import SheetScore

PLANTED_FILE = Path(__file__).parents[1] / "samples" / "judge" / "planted.jsonl"

JUDGE_OWN_COMMANDS = ("synth.judge_report",)
"""Stages whose command does more than run them."""

JudgedPath = Annotated[
    Path, typer.Argument(metavar="RUN|FOLDER", help="A run, or a folder of judged pairs.")
]


def add_judge_commands(synth_app: typer.Typer) -> None:
    """Adds the commands to the group."""
    synth_app.command("judge-report", epilog=example(f"astromill synth judge-report {DEMO}"))(
        _judge_report
    )
    synth_app.command(
        "agreement",
        epilog=example(
            "astromill synth agreement runs/demo",
            "astromill synth agreement runs/a/synth/judge runs/b/synth/judge --json",
        ),
    )(_agreement)
    synth_app.command(
        "sheet", epilog=example("astromill synth sheet runs/demo --rows 100 --out sheet.csv")
    )(_sheet)
    synth_app.command(
        "score-sheet", epilog=example("astromill synth score-sheet sheet.csv runs/demo")
    )(_score_sheet)
    synth_app.command(
        "measure-judge",
        epilog=example(
            f"astromill synth measure-judge {DEMO}",
            "astromill synth measure-judge my.yaml --set synth.judge.mode=completion --json",
        ),
    )(_measure_judge)


def _judge_report(
    recipe: RecipeFile, set_: Overrides = None, workers: Workers = None, address: Address = None
) -> None:
    """Show how the judge scored, what stays, and how far a second judge agrees.

    Runs stage `synth.judge_report` alone; the pairs must be judged.
    """
    from synth.judge.report import PLOT_NAME, REPORT_NAME

    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(only="synth.judge_report"), address=address, workers=workers)
    folder = context_of(loaded).folder("synth.judge_report")
    report = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
    console = Console()
    for name, given in report["judges"].items():
        console.print(_distribution_table(name, given))
    for name, one in report.get("agreement", {}).items():
        shown = f"kappa {_number(one['kappa'])}, weighted {_number(one['weighted_kappa'])}"
        console.print(f"agreement on {name}: {shown}, {one['same']:,} of {one['pairs']:,} alike")
    path = folder / PLOT_NAME
    console.print(f"plot: {path}", highlight=False, soft_wrap=True, markup=False)


def _agreement(
    first: JudgedPath,
    second: Annotated[
        Path | None,
        typer.Argument(metavar="RUN|FOLDER", help="The other one; default: the run's own second."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far two judges agree on the same pairs: Cohen's kappa, plain and weighted."""
    from synth.judge.agreement import agreement, agreement_record
    from synth.judge.judged import open_judged

    judges = open_judged(first), open_judged(second or first, "judge" if second else "judge_second")
    found = agreement(*judges)
    if as_json:
        print_json(agreement_record(found))
        return
    console = Console()
    if judges[0].scale != judges[1].scale:
        console.print("The judges have different scales: only what they keep is compared.")
    table = Table("", "pairs", "alike", "kappa", "quadratic weights")
    for one in found:
        cells = f"{one.pairs:,}", f"{one.same:,}", _number(one.kappa), _number(one.weighted_kappa)
        table.add_row(one.name, *cells)
    console.print(table)
    for one in found:
        console.print(_confusion_table(one))


def _sheet(
    folder: JudgedPath,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="The sheet, replaced.")],
    rows: Annotated[int, typer.Option(min=1, help="Pairs in it at most.")] = 100,
    blind: Annotated[
        bool,
        typer.Option("--blind/--show-scores", help="Leave the judge's scores out, or show them."),
    ] = True,
    passage: Annotated[
        bool, typer.Option("--passage", help="Show what each pair was written from.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Chooses which pairs: the same number, the same sheet.")
    ] = 42,
) -> None:
    """Write a sheet of judged pairs for a person to score: half kept ones, half dropped ones."""
    from synth.judge.judged import open_judged
    from synth.judge.sheet import write_sheet

    judged = open_judged(folder)
    done = write_sheet(judged, rows, seed, out, blind=blind, passages=passage)
    console = Console()
    console.print(
        f"{done.kept:,} of {done.kept_of:,} kept pairs and {done.dropped:,} of "
        f"{done.dropped_of:,} dropped ones: {escape(str(out))}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"Fill in the columns human_..., 1 to {judged.scale}, then: "
        f"astromill synth score-sheet {escape(str(out))} {escape(str(folder))}",
        highlight=False,
        soft_wrap=True,
    )


def _score_sheet(
    sheet: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The sheet, filled in.")],
    folder: JudgedPath,
    as_json: AsJson = False,
) -> None:
    """Score the judge by a sheet that a person filled in: precision, recall, agreement."""
    from synth.judge.judged import open_judged
    from synth.judge.sheet import score_sheet

    judged = open_judged(folder)
    found = score_sheet(sheet, judged)
    if not found.rated:
        raise UsageError(
            "no row of the sheet has scores",
            where=str(sheet),
            remedy="fill in the columns human_... of some rows and save the sheet as CSV",
        )
    agreed = _sheet_agreement(found, judged.scale)
    if as_json:
        print_json(_sheet_record(found, agreed))
        return
    _show_sheet(found, agreed, Console())


def _measure_judge(
    recipe: RecipeFile,
    planted: Annotated[
        Path,
        typer.Option(
            metavar="FILE.jsonl",
            help="Pairs with known faults.",
            show_default="samples/judge/planted.jsonl",
        ),
    ] = PLANTED_FILE,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Measure the recipe's judge on pairs with planted faults: precision and recall by fault."""
    from core.llm import open_engine
    from synth.judge.measure import measure, read_planted

    loaded = load_recipe(recipe, set_ or [])
    judge = loaded.recipe.synth.judge if loaded.recipe.synth else None
    if judge is None:
        raise UsageError(
            "the recipe has no judge",
            where="key synth.judge",
            remedy="add it: synth: {judge: {engine: {...}}}",
        )
    pairs = read_planted(planted)
    ctx = context_of(loaded)
    model = judge.engine.model
    engine = open_engine(judge.engine, ctx.model_path(model) if model else None)
    try:
        found = measure(judge, ctx, engine, pairs)
    finally:
        engine.close()
    if as_json:
        print_json(found.record())
        return
    _show_measured(found, Console())


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def share(part: tuple[int, int]) -> str:
    """Returns ``37 of 44 = 84.1% (70.6-92.1%)``, with Wilson's 95% interval."""
    from core.intervals import wilson

    count, total = part
    if not total:
        return "0 of 0"
    low, high = wilson(count, total)
    return f"{count:,} of {total:,} = {count / total:.1%} ({low:.1%}-{high:.1%})"


def _distribution_table(name: str, given: Mapping[str, Any]) -> Table:
    pairs, kept = given["pairs"], given["kept"]
    title = f"{name}: {share((kept, pairs))} stay"
    scores = [str(score) for score in range(1, given["scale"] + 1)]
    means = any(c["expected_mean"] is not None for c in given["criteria"].values())
    table = Table("criterion", *scores, "mean", *(["expected"] if means else []), title=title)
    for criterion, found in given["criteria"].items():
        total = sum(found["counts"])
        cells = [f"{count:,} ({count / total:.0%})" for count in found["counts"]]
        expected = [_number(found["expected_mean"])] if means else []
        table.add_row(criterion, *cells, f"{found['mean']:.3f}", *expected)
    return table


def _confusion_table(one: Agreement) -> Table:
    table = Table(f"{one.name}: first \\ second", *one.labels)
    for label, counts in zip(one.labels, one.counts, strict=True):
        table.add_row(label, *(f"{int(count):,}" for count in counts))
    return table


def _sheet_agreement(found: SheetScore, scale: int) -> list[Agreement]:
    from synth.judge.agreement import Agreement, confusion

    labels = [str(score) for score in range(1, scale + 1)]
    names = dict.fromkeys(name for row in found.rated for name in row.judge)
    agreed = []
    for name in names:
        human = [row.human[name] - 1 for row in found.rated]
        judge = [row.judge[name] - 1 for row in found.rated]
        agreed.append(Agreement(name, labels, confusion(human, judge, scale)))
    human = [int(row.human_keeps) for row in found.rated]
    judge = [int(row.judge_keeps) for row in found.rated]
    return [*agreed, Agreement("kept", ["dropped", "kept"], confusion(human, judge, 2))]


def _sheet_recall(found: SheetScore) -> tuple[float, float, float] | None:
    """Returns the recall in the whole data set, and a cautious interval.

    The interval takes both shares at the ends of their own 95% intervals at once, so it is wider
    than 95% needs.
    """
    from core.intervals import wilson

    (good, kept), (lost, dropped) = found.precision, found.lost
    # A side of the data set that is empty has no share to estimate.
    if (found.kept_of and not kept) or (found.dropped_of and not dropped):
        return None
    middle = found.recall(good / kept if kept else 0.0, lost / dropped if dropped else 0.0)
    (low_good, high_good), (low_lost, high_lost) = wilson(good, kept), wilson(lost, dropped)
    low, high = found.recall(low_good, high_lost), found.recall(high_good, low_lost)
    if middle is None or low is None or high is None:
        return None
    return middle, low, high


def _sheet_record(found: SheetScore, agreed: Sequence[Agreement]) -> dict[str, Any]:
    from synth.judge.agreement import agreement_record

    return {
        "rated": len(found.rated),
        "unrated": found.unrated,
        "precision": found.precision,
        "lost": found.lost,
        "recall": _sheet_recall(found),
        "agreement": agreement_record(agreed),
        "disagreements": [
            {"qa_id": r.qa_id, "human": r.human, "judge": r.judge, "note": r.note}
            for r in found.rated
            if r.human_keeps != r.judge_keeps
        ],
    }


def _show_sheet(found: SheetScore, agreed: Sequence[Agreement], console: Console) -> None:
    console.print(f"{counted(len(found.rated), 'row')} with scores, {found.unrated:,} without")
    console.print(f"precision: of what the judge keeps, you keep {share(found.precision)}")
    console.print(f"lost: of what the judge drops, you would keep {share(found.lost)}")
    recall = _sheet_recall(found)
    if recall is not None:
        middle, low, high = recall
        console.print(
            f"recall: of all good pairs the judge keeps about {middle:.1%} ({low:.1%}-{high:.1%}), "
            f"weighted to {found.kept_of:,} kept and {found.dropped_of:,} dropped pairs"
        )
    table = Table("you and the judge", "alike", "kappa", "quadratic weights")
    for one in agreed:
        alike = f"{one.same:,} of {one.pairs:,}"
        table.add_row(one.name, alike, _number(one.kappa), _number(one.weighted_kappa))
    console.print(table)
    decision = Table("you \\ the judge", "drops", "keeps")
    decision.add_row(
        "drop", f"{found.count(False, judge=False):,}", f"{found.count(False, judge=True):,}"
    )
    decision.add_row(
        "keep", f"{found.count(True, judge=False):,}", f"{found.count(True, judge=True):,}"
    )
    console.print(decision)
    differ = Table("pair", "question", "you", "the judge", "note", title="disagreements")
    for row in found.rated:
        if row.human_keeps != row.judge_keeps:
            mine, judged = (" ".join(map(str, r.values())) for r in (row.human, row.judge))
            differ.add_row(row.qa_id, escape(row.question), mine, judged, escape(row.note))
    if differ.row_count:
        console.print(differ)


def _show_measured(found: Measured, console: Console) -> None:
    console.print(f"judge: {escape(found.judge)}", highlight=False)
    unread = counted(found.unparsed, "verdict")
    console.print(f"{counted(len(found.outcomes), 'pair')}, {unread} could not be read")
    console.print(f"precision: good among the kept {share(found.precision)}")
    console.print(f"recall: kept among the good {share(found.recall)}")
    table = Table("fault", "pairs", "kept", "dropped", "dropped, 95% interval")
    for fault in ("none", *found.faults):
        kept, dropped = found.count(fault, kept=True), found.count(fault, kept=False)
        table.add_row(
            fault, str(kept + dropped), str(kept), str(dropped), share((dropped, kept + dropped))
        )
    console.print(table)
    wrong = Table("pair", "fault", "judge", "question", "why", title="mistakes")
    for one in found.outcomes:
        if one.kept != (one.pair.fault == "none"):
            did = "kept" if one.kept else "dropped"
            wrong.add_row(
                one.pair.pair_id, one.pair.fault, did, escape(one.pair.question), escape(one.why)
            )
    if wrong.row_count:
        console.print(wrong)
