"""What a sweep found: domain score against general score, as a figure and a table.

A merge trades the one for the other; the curve shows how much of the instruct model buys how much.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from core.atomic import write_text
from core.intervals import wilson
from core.recipe.merge import Merge
from core.shards import read_shard, shard_paths
from core.stage import JobResult, JobStage, StageContext
from merge.card import short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE_NAME = "sweep.csv"
FIGURE_NAMES = ("sweep.svg", "sweep.png")
GROUPS = ("domain", "general")

_CURVE, _CHOSEN, _BARS = "#2266aa", "#aa3322", "#9db4cc"


@dataclass(frozen=True)
class Score:
    """Questions answered rightly, of how many, over a group's benchmarks."""

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share answered rightly."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval."""
        return wilson(self.correct, self.total)


@dataclass(frozen=True)
class Point:
    """One merge of a sweep: weight of the second model, score by group (those with a key)."""

    weight: float
    groups: dict[str, Score]


def read_points(folder: Path) -> list[Point]:
    """Returns the points of a finished sweep, by weight.

    Args:
        folder: of the stage ``merge.sweep``.
    """
    tables = [read_shard(path) for path in shard_paths(folder)]
    return points_of(pa.concat_tables(tables)) if tables else []


def points_of(table: pa.Table) -> list[Point]:
    """Adds up rows of :data:`core.schema.MERGE_SCORE` by weight and group."""
    sums: dict[float, dict[str, tuple[int, int]]] = {}
    for row in table.to_pylist():
        groups = sums.setdefault(row["weight"], {})
        correct, total = groups.get(row["group"], (0, 0))
        groups[row["group"]] = (correct + row["correct"], total + row["total"])
    return [
        Point(weight, {g: Score(*counts) for g, counts in sorted(groups.items()) if counts[1]})
        for weight, groups in sorted(sums.items())
    ]


def chosen_weight(section: Merge) -> float:
    """Returns the share of the second model in the merge itself."""
    first, second = section.weights()
    return second / (first + second)


def is_chosen(weight: float, chosen: float) -> bool:
    """Returns whether a point is the merge itself, but for rounding."""
    return abs(weight - chosen) < 1e-9


def table_csv(points: Sequence[Point]) -> str:
    """Returns a line per point and group: weight, group, correct, total, accuracy, low, high."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["weight", "group", "correct", "total", "accuracy", "low", "high"])
    for point in points:
        for group, score in point.groups.items():
            numbers = [f"{n:.6f}" for n in (score.accuracy, *score.interval)]
            writer.writerow([f"{point.weight:g}", group, score.correct, score.total, *numbers])
    return out.getvalue()


def draw(points: Sequence[Point], chosen: float, second: str, path: Path) -> None:
    """Draws domain score against general score, a point per weight, with Wilson intervals.

    Where only one of the two has scores, it is drawn against the weight.

    Args:
        points: by weight.
        chosen: weight of the merge itself, marked where it is among the points.
        second: name of the second model.
        path: ``.svg`` or ``.png``; written anew.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": "astromill",
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
        "font.size": 11,
        # A ground of its own: the ink is dark, whatever page it is shown on.
        "figure.facecolor": "white",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e6e6e6",
    }
    with rc_context(style):
        figure = Figure(figsize=(7, 5.2), layout="constrained")
        axes = figure.subplots()
        both = [p for p in points if all(group in p.groups for group in GROUPS)]
        if both:
            _draw_both(axes, both, chosen)
        else:
            _draw_one(axes, points, chosen)
        axes.set_title(f"Merges by the weight of {second}", loc="left", fontsize=12)
        if any(is_chosen(p.weight, chosen) for p in points):
            axes.plot([], [], "o", color=_CHOSEN, markersize=8, label=f"merged: {chosen:g}")
        axes.plot([], [], color=_BARS, label="95% Wilson interval")
        axes.legend(frameon=False)
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=150, metadata=metadata)


def _draw_both(axes: Axes, points: Sequence[Point], chosen: float) -> None:
    across, up = ([100 * p.groups[group].accuracy for p in points] for group in reversed(GROUPS))
    axes.plot(across, up, color=_CURVE, linewidth=1, alpha=0.6)
    for point, x, y in zip(points, across, up, strict=True):
        domain, general = (point.groups[group].interval for group in GROUPS)
        axes.plot([100 * e for e in general], [y, y], color=_BARS, linewidth=1, zorder=1)
        axes.plot([x, x], [100 * e for e in domain], color=_BARS, linewidth=1, zorder=1)
    # Several weights may give the same scores: they share a point and its label.
    shared: dict[tuple[float, float], list[float]] = {}
    for point, x, y in zip(points, across, up, strict=True):
        shared.setdefault((x, y), []).append(point.weight)
    for (x, y), weights in shared.items():
        _mark(axes, x, y, weights, chosen)
    axes.set_xlabel("general accuracy (%)")
    axes.set_ylabel("domain accuracy (%)")


def _draw_one(axes: Axes, points: Sequence[Point], chosen: float) -> None:
    group = next((g for g in GROUPS if any(g in p.groups for p in points)), GROUPS[0])
    scored = [p for p in points if group in p.groups]
    up = [100 * p.groups[group].accuracy for p in scored]
    axes.plot([p.weight for p in scored], up, color=_CURVE, linewidth=1, alpha=0.6)
    for point, y in zip(scored, up, strict=True):
        ends = [100 * e for e in point.groups[group].interval]
        axes.plot([point.weight] * 2, ends, color=_BARS, linewidth=1, zorder=1)
        _mark(axes, point.weight, y, [point.weight], chosen)
    axes.set_xlabel("weight")
    axes.set_ylabel(f"{group} accuracy (%)")


def _mark(axes: Axes, x: float, y: float, weights: Sequence[float], chosen: float) -> None:
    marked = any(is_chosen(weight, chosen) for weight in weights)
    colour, size = (_CHOSEN, 8) if marked else (_CURVE, 5)
    axes.plot([x], [y], "o", color=colour, markersize=size, zorder=3)
    axes.annotate(
        ", ".join(f"{weight:g}" for weight in weights),
        (x, y),
        xytext=(6, 6),
        textcoords="offset points",
        color=colour,
        weight="bold" if marked else "normal",
        zorder=4,
    )


class SweepFigureStage(JobStage):
    """Draws the sweep; fills ``sweep.csv``, ``sweep.svg`` and ``sweep.png``."""

    name = "merge.sweep_figure"
    description: ClassVar[str] = "domain score against general score, over the weights of a merge"
    row_unit = "score"

    def __init__(self, section: Merge, sweep: str = "merge.sweep") -> None:
        """Takes the recipe's part.

        Args:
            section: the merge whose weight is marked.
            sweep: the stage that is drawn.
        """
        self._chosen = chosen_weight(section)
        self._second = short_names(section.names)[section.models[1].model]
        self.inputs = (sweep,)

    def config(self) -> dict[str, Any]:
        """Returns the marked weight and the second model's name."""
        return {"chosen": self._chosen, "second": self._second}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes table and figure."""
        folder = ctx.folder(self.inputs[0])
        points = read_points(folder)
        write_text(out / TABLE_NAME, table_csv(points))
        for name in FIGURE_NAMES:
            draw(points, self._chosen, self._second, out / name)
        rows = sum(read_shard(path, ["weight"]).num_rows for path in shard_paths(folder))
        metrics = {
            f"{group}_accuracy_at_{point.weight:g}": round(score.accuracy, 6)
            for point in points
            for group, score in point.groups.items()
        }
        return JobResult(rows_in=rows, rows_out=rows, metrics=metrics)
