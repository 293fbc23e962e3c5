"""Stage ``eval.value``: the run's models in the table of values and its two figures.

Files of the stage::

    value.json                     the table, its ranks and frontier, and what could not be placed
    table.csv                      the same rows, best value first
    figure3.png, .svg, .html       score against cost
    figure4.png, .svg, .html       score and value over time, where release dates are known
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from core.atomic import write_json, write_text
from core.errors import InputError
from core.recipe.value import Value
from core.stage import JobResult, JobStage, StageContext
from eval.value.draw import COST, KINDS, Kind, save_figure
from eval.value.page import render_page
from eval.value.read import parse_release, read_dates, read_prices, read_scores
from eval.value.table import (
    Own,
    ValueTable,
    build_table,
    by_score,
    by_value,
    entry_record,
    off_list,
    table_csv,
)

SCORES = "eval.scores"
SAMPLES = Path(__file__).parents[2] / "samples" / "value"
"""The paper's table, list prices and release dates."""


@dataclass(frozen=True)
class Files:
    """The CSV files of a section, absolute."""

    scores: tuple[Path, ...]
    costs: Path | None
    dates: Path | None

    def listed(self) -> list[Path]:
        """Returns those that there are."""
        return [path for path in (*self.scores, self.costs, self.dates) if path is not None]


def section_files(section: Value, path: Callable[[str], Path]) -> Files:
    """Returns the files of a section: of one that names no scores, the paper's table.

    Args:
        section: of the recipe.
        path: makes a recipe's path absolute.
    """
    costs = path(section.costs) if section.costs else None
    dates = path(section.dates) if section.dates else None
    if section.scores:
        return Files(tuple(path(name) for name in section.scores), costs, dates)
    prices, released = SAMPLES / "list_prices.csv", SAMPLES / "release_dates.csv"
    return Files((SAMPLES / "astromlab4_table1.csv",), costs or prices, dates or released)


def load_table(section: Value, files: Files, own: Sequence[Own] = ()) -> ValueTable:
    """Reads the files of a section and builds the table.

    Args:
        section: of the recipe.
        files: from :func:`section_files`.
        own: models of ours.

    Raises:
        InputError: a file is wrong, or names do not fit together.
    """
    scores = read_scores(files.scores)
    names = [scored.name for scored in scores]
    prices = read_prices(files.costs, names) if files.costs else None
    dates = read_dates(files.dates, names) if files.dates else None
    return build_table(scores, section.baseline, prices, dates, own, section.questions)


def own_models(section: Value, scores: dict[str, Any]) -> tuple[list[Own], dict[str, str]]:
    """Takes the run's models from the content of ``scores.json``.

    Returns:
        The models that have a score, and for the others why they have none.

    Raises:
        InputError: the run did not score a model or benchmark that the section names.
    """
    by_name = {model["name"]: model for model in scores["models"]}
    found, missing = [], {}
    for name, cost in section.own.items():
        if name not in by_name:
            raise InputError(
                f"the run has no model '{name}'",
                where=f"key eval.value.own.{name}",
                remedy=f"one of {', '.join(by_name)}",
            )
        counts = _counts(by_name[name], section.benchmark)
        if not counts["total"]:
            missing[name] = "no question of the benchmark has a key"
            continue
        found.append(
            Own(
                name=cost.label or name,
                correct=counts["correct"],
                total=counts["total"],
                cost_as=cost.cost_as,
                usd_per_100k_tokens=cost.usd_per_100k_tokens,
                released=parse_release(cost.released) if cost.released else None,
            )
        )
    return found, missing


def _counts(model: dict[str, Any], benchmark: str | None) -> dict[str, Any]:
    if benchmark is None:
        return dict(model["groups"].get("domain") or {"correct": 0, "total": 0})
    by_name = {scored["name"]: scored for scored in model["benchmarks"]}
    if benchmark not in by_name:
        raise InputError(
            f"the run has no benchmark '{benchmark}'",
            where="key eval.value.benchmark",
            remedy=f"one of {', '.join(by_name)}",
        )
    return dict(by_name[benchmark])


def summary(table: ValueTable) -> dict[str, Any]:
    """Returns the table with ranks, frontier and the prices that its values do not hold."""
    return {
        "baseline": table.baseline,
        "baseline_usd_per_0.1m_tokens": table.baseline_usd,
        "questions": table.questions,
        "models": [entry_record(entry, table) for entry in table.entries],
        "by_score": [entry.name for entry in by_score(table.entries)],
        "by_value": [entry.name for entry in by_value(table.entries)],
        "frontier": [entry.name for entry in by_score(table.entries) if entry.frontier],
        "listed_price_differs": {
            entry.name: round(10**decades, 3) for entry, decades in off_list(table)
        },
    }


def drawable(kind: Kind, table: ValueTable) -> bool:
    """Returns whether there is anything to draw: two models with a cost; over time, two dates."""
    if kind is COST:
        return len(table.placed()) > 1
    return len({entry.released.day for entry in table.entries if entry.released}) > 1


class ValueStage(JobStage):
    """Places the run's models in a table of values."""

    name = "eval.value"
    description: ClassVar[str] = "Value scores, score against cost and over time"
    inputs = (SCORES,)
    row_unit = "model"
    reconcile: ClassVar[str] = "the models of the table and the run's own"

    def __init__(self, section: Value) -> None:
        """Takes the section ``eval.value``."""
        self._section = section

    def config(self) -> dict[str, Any]:
        """Returns the section."""
        return self._section.model_dump(mode="json")

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the CSV files."""
        return section_files(self._section, ctx.path).listed()

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes table and figures."""
        text = (ctx.folder(SCORES) / "scores.json").read_text(encoding="utf-8")
        own, missing = own_models(self._section, json.loads(text))
        files = section_files(self._section, ctx.path)
        table = load_table(self._section, files, own)
        write_json(out / "value.json", summary(table) | {"not_placed": missing})
        write_text(out / "table.csv", table_csv(table, by_value))
        notes = notes_on(self._section, files, own)
        notes += [f"{name} of this run is not drawn: {why}." for name, why in missing.items()]
        for kind in KINDS:
            if drawable(kind, table):
                for ending in ("png", "svg"):
                    save_figure(kind, table, out / f"{kind.key}.{ending}")
                write_text(out / f"{kind.key}.html", render_page(kind, table, notes))
        rows = len(table.entries)
        placed = [entry for entry in table.entries if entry.own]
        return JobResult(
            rows_in=rows,
            rows_out=rows,
            metrics={
                "models": rows,
                "own_models": len(placed),
                "frontier": sum(entry.frontier for entry in table.entries),
            },
        )


def notes_on(section: Value, files: Files, own: Sequence[Own]) -> list[str]:
    """Returns what a reader of the figures must know of where their numbers are from."""
    notes = [f"Scores and published values: {', '.join(path.name for path in files.scores)}."]
    if files.costs:
        notes.append(f"Prices: {files.costs.name}.")
    if files.dates:
        notes.append(f"Release dates: {files.dates.name}.")
    if own:
        named = (
            f"the benchmark {section.benchmark}" if section.benchmark else "its domain questions"
        )
        counts = ", ".join(f"{model.name} {model.correct} of {model.total}" for model in own)
        notes.append(
            f"This run's models were scored on {named} ({counts}). Their values compare with the "
            "others' only if those are the questions of the table."
        )
    return notes
