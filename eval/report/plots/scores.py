"""Plots of scores: accuracy, reliability, differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from eval.report.plots.base import ALARM, INK, MUTED, PAPER, SERIES, colors, panels, plot, short
from eval.report.text import MINUS

_GROUPS = {"domain": "In domain", "general": "General"}


def group_title(group: str) -> str:
    """Returns a group of benchmarks as a heading."""
    return _GROUPS.get(group, group.capitalize())


def accuracy_plot(models: Sequence[dict[str, Any]]) -> str:
    """Returns dots with 95% whiskers per model, a panel per group, chance as a dashed line.

    Args:
        models: as ``scores.json`` lists them.

    Returns:
        Empty text where nothing was scored.
    """
    named = dict.fromkeys(group for model in models for group in model["groups"])
    groups = [g for g in named if any(_accuracy(m, g) is not None for m in models)]
    if not groups:
        return ""
    alt = "Accuracy with 95% Wilson intervals. " + " ".join(
        f"{m['name']} {g} {100 * m['groups'][g]['accuracy']:.1f}%."
        for g in groups
        for m in models
        if _accuracy(m, g) is not None
    )

    def draw(figure: Figure, wide: bool) -> None:
        columns = len(groups) if wide else 1
        drawn = panels(figure, len(groups), columns, share=wide)
        for group, axes in zip(groups, drawn, strict=True):
            _accuracy_panel(axes, models, group)

    height = 70 + 30 * len(models)
    return plot("accuracy", alt, draw, (height, height * len(groups)))


def _accuracy(model: dict[str, Any], group: str) -> float | None:
    value = model["groups"].get(group, {}).get("accuracy")
    return None if value is None else float(value)


def _accuracy_panel(axes: Axes, models: Sequence[dict[str, Any]], group: str) -> None:
    color = colors(models)
    chance = None
    for place, model in enumerate(models):
        accuracy = _accuracy(model, group)
        if accuracy is None:
            continue
        values = model["groups"][group]
        chance = chance or values.get("chance")
        ends = [100 * values["low"], 100 * values["high"]]
        mine = color[model["name"]]
        axes.plot(ends, [place, place], color=mine, linewidth=2.4, solid_capstyle="round")
        axes.plot([100 * accuracy], [place], "o", color=mine, markersize=8)
    if chance is not None:
        axes.axvline(100 * chance, color=ALARM, linestyle=(0, (4, 3)), linewidth=1.4, zorder=1)
        axes.annotate(
            f"chance {100 * chance:.0f}%",
            (100 * chance, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -3),
            textcoords="offset points",
            va="top",
            color=ALARM,
            fontsize=11,
        )
    axes.set_title(group_title(group))
    axes.set_xlim(0, 100)
    _rows(axes, [m["name"] for m in models])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}%"))
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """Makes the vertical axis a list of labels, the first one on top."""
    axes.set_ylim(len(labels) - 0.5, -0.85)
    axes.set_yticks(range(len(labels)), [short(label) for label in labels], color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)


def paired_plot(pairs: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]]) -> str:
    """Returns the differences in accuracy between pairs of models with their 95% intervals.

    Args:
        pairs: entries of ``paired`` in ``scores.json`` of one group.
        models: as ``scores.json`` lists them, for the colours.
    """
    color = colors(models)
    labels = [f"{pair['b']} {MINUS} {pair['a']}" for pair in pairs]
    alt = "Differences in accuracy, percentage points, with 95% intervals. " + " ".join(
        f"{label}: {100 * pair['difference']:+.1f}."
        for label, pair in zip(labels, pairs, strict=True)
    )

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for place, pair in enumerate(pairs):
            mine = color.get(pair["b"], SERIES[0])
            ends = [100 * pair["low"], 100 * pair["high"]]
            axes.plot(ends, [place, place], color=mine, linewidth=2.4, solid_capstyle="round")
            axes.plot([100 * pair["difference"]], [place], "o", color=mine, markersize=8)
            # Above its line, since two names side by side leave no room on a phone.
            axes.annotate(
                labels[place],
                (0, place),
                xycoords=("axes fraction", "data"),
                xytext=(0, 9),
                textcoords="offset points",
                va="center",
                fontsize=11.5,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
            )
        axes.axvline(0, color=MUTED, linewidth=1.2, zorder=1)
        axes.set_ylim(len(labels) - 0.5, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6 if wide else 4))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{x:+.0f}".replace("-", MINUS) if x else "0")
        )
        axes.set_xlabel("difference in accuracy, points")

    height = 50 + 36 * len(pairs)
    return plot(f"paired-{pairs[0]['group']}", alt, draw, (height, height))


def reliability_plot(entries: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]]) -> str:
    """Returns confidence against accuracy, a panel per model.

    Args:
        entries: of ``calibration`` in ``scores.json``, of one group.
        models: as ``scores.json`` lists them, for the colours.
    """
    color = colors(models)
    alt = "Reliability curves: accuracy against confidence. " + " ".join(
        f"{entry['name']}: expected calibration error {entry['ece']:.3f}." for entry in entries
    )

    def draw(figure: Figure, wide: bool) -> None:
        columns = min(4 if wide else 2, max(2, len(entries)))
        drawn = panels(figure, len(entries), columns)
        for place, (entry, axes) in enumerate(zip(entries, drawn, strict=True)):
            _reliability_panel(axes, entry, color.get(entry["name"], SERIES[0]))
            if place % columns == 0:
                axes.set_ylabel("accuracy")
            else:
                axes.tick_params(axis="y", labelleft=False)
            axes.set_xlabel("confidence")

    wide_rows, narrow_rows = -(-len(entries) // 4), -(-len(entries) // 2)
    return plot(
        f"calibration-{entries[0]['group']}", alt, draw, (215 * wide_rows, 215 * narrow_rows)
    )


def _reliability_panel(axes: Axes, entry: dict[str, Any], color: str) -> None:
    axes.plot([0, 100], [0, 100], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
    bins = [b for b in entry["bins"] if b["total"]]
    most = max((b["total"] for b in bins), default=1)
    for found in bins:
        x = 100 * found["confidence"]
        ends = [100 * found["low"], 100 * found["high"]]
        axes.plot([x, x], ends, color=color, linewidth=1.2, alpha=0.55)
        size = 3 + 5 * (found["total"] / most) ** 0.5
        axes.plot([x], [100 * found["accuracy"]], "o", color=color, markersize=size)
    axes.set_title(short(entry["name"]))
    axes.text(4, 97, f"ECE {entry['ece']:.2f}", va="top", fontsize=11, color=MUTED)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0, 50, 100])
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}%"))
