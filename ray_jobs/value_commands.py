"""Group ``value``: value scores, Table 1 and its claims, Figures 3 and 4, the cost of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from core.counted import counted
from core.errors import UsageError
from core.recipe.value import Value
from eval.value.claim_kinds import read_claims
from eval.value.claims import Finding, Verdict, check_claims
from eval.value.equation import corpus_cost_usd
from eval.value.stage import (
    SAMPLES,
    Files,
    drawable,
    load_table,
    notes_on,
    section_files,
)
from eval.value.table import Entry, ValueTable, by_score, by_value, in_order, off_list
from ray_jobs.options import example

_STYLES = {
    Verdict.HOLDS: "green",
    Verdict.TO_ROUNDING: "green",
    Verdict.FAILS: "red",
    Verdict.UNKNOWN: "yellow",
}

Scores = Annotated[
    list[Path] | None,
    typer.Option(
        "--table", metavar="CSV", help="Scores; may be repeated. Default: AstroMLab 4, Table 1."
    ),
]
Costs = Annotated[
    Path | None,
    typer.Option("--costs", metavar="CSV", help="Prices. Default, without --table: list prices."),
]
Dates = Annotated[
    Path | None,
    typer.Option("--dates", metavar="CSV", help="Release dates. Default, without --table: ours."),
]
Baseline = Annotated[str, typer.Option(metavar="MODEL", help="The model of value 0.")]
Questions = Annotated[int, typer.Option(min=1, help="Questions behind the scores.")]


def add_value_commands(app: typer.Typer) -> None:
    """Adds the group ``value``."""
    group = typer.Typer(
        no_args_is_help=True, help="What models know against what they cost; needs no recipe."
    )
    group.command("table", epilog=example("astromill value table --sort score --top 20"))(_table)
    group.command(
        "figure",
        epilog=example(
            "astromill value figure --out figures",
            "astromill value figure --table mine.csv --costs prices.csv --out figures",
        ),
    )(_figure)
    group.command("check", epilog=example("astromill value check"))(_check)
    group.command(
        "archive", epilog=example("astromill value archive --tokens 3e9 'Gemini 3.0 Flash'")
    )(_archive)
    app.add_typer(group, name="value")


def read_value_table(
    scores: list[Path] | None,
    costs: Path | None,
    dates: Path | None,
    baseline: str,
    questions: int,
) -> tuple[ValueTable, Value, Files]:
    """Reads the files that the options name; without ``--table``, the paper's.

    Returns:
        The table, the recipe section that makes the same, and the files.

    Raises:
        InputError: a file is wrong, or names do not fit together.
    """
    section = Value(
        scores=[str(path) for path in scores or []],
        costs=str(costs) if costs else None,
        dates=str(dates) if dates else None,
        baseline=baseline,
        questions=questions,
    )
    files = section_files(section, Path)
    return load_table(section, files), section, files


def _table(
    table: Scores = None,
    costs: Costs = None,
    dates: Dates = None,
    baseline: Baseline = "GPT-4",
    questions: Questions = 3846,
    sort: Annotated[str, typer.Option(help="Best first by: value or score.")] = "value",
    top: Annotated[int | None, typer.Option(min=1, help="Show so many; default: all.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all rows and columns as CSV.")
    ] = None,
) -> None:
    """List models with score, value, implied cost, both ranks and the frontier."""
    from core.atomic import write_text
    from eval.value.table import table_csv

    orders = {"value": by_value, "score": by_score}
    if sort not in orders:
        raise UsageError(
            f"models cannot be sorted by '{sort}'",
            where="option --sort",
            remedy="value or score",
        )
    values, _, _ = read_value_table(table, costs, dates, baseline, questions)
    console = Console(highlight=False)
    console.print(_shown(values, in_order(values, orders[sort])[:top], sort))
    frontier = sorted((e for e in values.placed() if e.frontier), key=_cost_of)
    names = ", ".join(entry.name for entry in frontier)
    console.print(f"frontier, cheapest first: {names}", soft_wrap=True)
    _print_prices(console, values)
    if out is not None:
        write_text(out, table_csv(values, orders[sort]))
        console.print(f"{counted(len(values.entries), 'model')}: {out}")


def _cost_of(entry: Entry) -> float:
    return entry.log_cost.value if entry.log_cost else float("inf")


def _shown(table: ValueTable, entries: list[Entry], sort: str) -> Table:
    """Returns the models as lines that fit into 80 columns; ``--out`` has all there is."""
    unit = "USD/0.1M" if table.baseline_usd else f"cost/{table.baseline}"
    title = (
        f"{counted(len(table.entries), 'model')} by {sort}; ranks by score and value; * frontier"
    )
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for head in ("no.", "no."):
        shown.add_column(head, justify="right", no_wrap=True)
    shown.add_column("model", no_wrap=True)
    shown.add_column("", no_wrap=True)
    for head in ("score", "value", unit, "within"):
        shown.add_column(head, justify="right", no_wrap=True)
    for entry in entries:
        cost = table.usd(entry) or entry.log_cost
        shown.add_row(
            str(entry.rank_by_score),
            str(entry.rank_by_value or "–"),
            entry.name + (" *" if entry.frontier else ""),
            "O" if entry.access == "open" else "P",
            f"{entry.score.value:.1f}",
            f"{entry.value.value:+.2f}" if entry.value else "–",
            f"{cost.powers()[1]:.3g}" if cost else "–",
            f"±{100 * (10**cost.half_width - 1):.0f}%" if cost and cost.half_width else "",
        )
    return shown


def _print_prices(console: Console, table: ValueTable) -> None:
    """Says how many listed prices the published values agree with."""
    listed = [
        entry
        for entry in table.entries
        if entry.list_price and entry.cost_source == "published value"
    ]
    if not listed or table.baseline_usd is None:
        return
    different = off_list(table)
    console.print(
        f"of {len(listed)} listed prices, {len(listed) - len(different)} are the implied ones to "
        f"rounding, with {table.baseline} at ${table.baseline_usd:g} per 0.1M tokens"
    )
    for entry, decades in different:
        console.print(f"  {entry.name}: implied / listed = {10**decades:.2f}")


def _figure(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to put the files.")],
    table: Scores = None,
    costs: Costs = None,
    dates: Dates = None,
    baseline: Baseline = "GPT-4",
    questions: Questions = 3846,
) -> None:
    """Draw score against cost, and score and value over time, as PNG, SVG and interactive HTML."""
    from core.atomic import write_text
    from eval.value.draw import COST, KINDS, save_figure
    from eval.value.page import render_page

    values, section, files = read_value_table(table, costs, dates, baseline, questions)
    console = Console(highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        if not drawable(kind, values):
            lacks = "costs: give --costs" if kind is COST else "release dates: give --dates"
            console.print(f"{kind.key} needs {lacks}")
            continue
        for ending in ("png", "svg"):
            save_figure(kind, values, out / f"{kind.key}.{ending}")
        write_text(
            out / f"{kind.key}.html", render_page(kind, values, notes_on(section, files, []))
        )
        console.print(f"{kind.title}: {out / kind.key}.png, .svg, .html")


def _check(
    table: Scores = None,
    costs: Costs = None,
    dates: Dates = None,
    baseline: Baseline = "GPT-4",
    questions: Questions = 3846,
    claims: Annotated[
        Path,
        typer.Option(
            metavar="YAML",
            help="What a text says of the table.",
            show_default="samples/value/claims.yaml",
        ),
    ] = SAMPLES / "claims.yaml",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a claim does not hold.")
    ] = False,
) -> None:
    """Work out what the paper says in words, and say where the table does not hold it."""
    values, _, _ = read_value_table(table, costs, dates, baseline, questions)
    found = read_claims(claims)
    findings = check_claims(found, values)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"claims of {found.source}", markup=False)
    for finding in findings:
        _print_finding(console, finding)
    counts = {verdict: sum(f.verdict is verdict for f in findings) for verdict in Verdict}
    shown = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count)
    console.print(f"{counted(len(findings), 'claim')}; {shown}", markup=False)
    if strict and any(f.verdict in (Verdict.FAILS, Verdict.UNKNOWN) for f in findings):
        raise typer.Exit(1)


def _print_finding(console: Console, finding: Finding) -> None:
    console.print(finding.verdict.value.upper(), style=_STYLES[finding.verdict], end=" ")
    console.print(f"{finding.says} [{finding.where}]", markup=False)
    if finding.tolerance:
        console.print(f"    taken as: {finding.tolerance}", markup=False)
    for line in finding.lines:
        console.print(f"    {line}", markup=False)


def _archive(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models of the table.")],
    tokens: Annotated[
        float,
        typer.Option(
            help="Tokens of the corpus; default: astro-ph, about 3 billion (AstroMLab 3)."
        ),
    ] = 3e9,
    table: Scores = None,
    costs: Costs = None,
    baseline: Baseline = "GPT-4",
) -> None:
    """Say what it costs to process a corpus with a model: tokens x mean price of a token."""
    values, _, _ = read_value_table(table, costs, None, baseline, 3846)
    shown = Table(title=f"{tokens:,.0f} tokens", title_justify="left")
    shown.add_column("model")
    for head in ("USD", "to rounding", "USD per 1M tokens"):
        shown.add_column(head, justify="right")
    for name in models:
        entry = values.find(name, "command line")
        cost = values.usd(entry)
        if cost is None:
            raise UsageError(
                f"the price of '{entry.name}' in dollars is not known",
                where="option --costs",
                remedy=f"give its price, or that of '{values.baseline}'",
            )
        try:
            low, middle, high = (corpus_cost_usd(tokens, end) for end in cost.powers())
        except ValueError as error:
            raise UsageError(
                str(error), where="option --tokens", remedy="give a number of tokens"
            ) from error
        rounding = f"{low:,.0f} to {high:,.0f}" if cost.half_width else ""
        shown.add_row(entry.name, f"{middle:,.0f}", rounding, f"{10 * cost.powers()[1]:.3g}")
    Console(highlight=False).print(shown)
