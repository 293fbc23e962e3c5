"""Show what a recipe's sources gave: tables in the terminal, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.atomic import atomic_file
from corpus.summary import Summary

_SHOWN = 12
_BAR_CHARS = 32
_LABEL_CHARS = 36


def show_sources(summary: Summary, console: Console) -> None:
    """Prints the counts by source, year, category and licence."""
    table = Table("source", title="sources")
    table.add_column("documents", justify="right")
    table.add_column("rejected", justify="right")
    table.add_column("why", overflow="fold")
    for source in summary.sources:
        why = ", ".join(f"{reason} {count:,}" for reason, count in source.rejects.items())
        rejected = f"{sum(source.rejects.values()):,}"
        table.add_row(escape(source.name), f"{source.documents:,}", rejected, escape(why))
    console.print(table)
    years = [(s, str(year or "no date"), n) for s, year, n in summary.years]
    _show_counts("year", years, len(years), console)
    _show_counts("category", summary.categories, _SHOWN, console)
    _show_counts("licence", summary.licenses, _SHOWN, console)


def _show_counts(
    what: str, rows: Sequence[tuple[str, str, int]], shown: int, console: Console
) -> None:
    if not rows:
        return
    table = Table("source", what, title=f"documents by {what}")
    table.add_column("documents", justify="right")
    table.add_column("", no_wrap=True)
    most = max(count for _, _, count in rows)
    for source, key, count in rows[:shown]:
        bar = "█" * max(1, round(_BAR_CHARS * count / most))
        table.add_row(escape(source), escape(key), f"{count:,}", bar)
    if len(rows) > shown:
        rest = sum(count for _, _, count in rows[shown:])
        table.add_row("", f"{len(rows) - shown} more", f"{rest:,}", "")
    console.print(table)


def plot_sources(summary: Summary, path: Path) -> None:
    """Draws documents by year (stacked by source), source, category and licence as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    by_year, by_source, by_category, by_license = figure.subplots(2, 2).flat
    _draw_years(by_year, summary)
    _draw_sources(by_source, summary)
    _draw_top(by_category, "documents by primary category", summary.categories)
    _draw_top(by_license, "documents by licence", summary.licenses)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_years(axes: Any, summary: Summary) -> None:
    years = sorted({year for _, year, _ in summary.years})
    labels = ["no date" if year == 0 else str(year) for year in years]
    filled = [source.name for source in summary.sources if source.documents]
    bottom = [0] * len(years)
    for number, name in enumerate(filled):
        counts = {year: n for source, year, n in summary.years if source == name}
        heights = [counts.get(year, 0) for year in years]
        axes.bar(labels, heights, bottom=bottom, label=_shortened(name), color=f"C{number % 10}")
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    axes.set_title("documents by year")
    axes.tick_params(axis="x", rotation=60)
    if filled:
        axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_sources(axes: Any, summary: Summary) -> None:
    names = [_shortened(source.name) for source in summary.sources]
    kept = [source.documents for source in summary.sources]
    rejected = [sum(source.rejects.values()) for source in summary.sources]
    axes.barh(names, kept, label="documents")
    axes.barh(names, rejected, left=kept, label="rejected", color="lightgray")
    axes.set_title("documents and rejects by source")
    axes.invert_yaxis()
    axes.legend(fontsize="small")


def _draw_top(axes: Any, title: str, rows: Sequence[tuple[str, str, int]]) -> None:
    merged: dict[str, int] = {}
    for _, key, count in rows:
        merged[key] = merged.get(key, 0) + count
    top = sorted(merged.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    axes.barh([_shortened(key) for key, _ in top], [count for _, count in top])
    axes.set_title(title)
    axes.invert_yaxis()


def _shortened(label: str) -> str:
    label = label.removeprefix("http://").removeprefix("https://")
    return label if len(label) <= _LABEL_CHARS else label[: _LABEL_CHARS - 1] + "…"
