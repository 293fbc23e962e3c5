"""Plots of a training run, as in the papers' Figure 2: loss, learning rate, norms."""

from __future__ import annotations

import re

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from eval.report.gather.training import QUANTITIES, Curve
from eval.report.plots.base import ALARM, INK, MUTED, SERIES, panels, plot, short

_TITLES = {
    "loss": "loss (nats/token)",
    "learning_rate": "learning rate",
    "update_norm": "update norm",
    "grad_norm": "gradient norm",
}
_FEW = 3
_ROOM = 0.15
"""Share of a panel's height that a line of text needs."""


def curve_plot(curve: Curve, color: str = SERIES[0]) -> str:
    """Returns what was written of a run over its steps, a panel each.

    Args:
        curve: the run.
        color: of the model that the run makes.
    """
    key = "curve-" + re.sub(r"\W", "-", curve.stage)
    shown = [name for name in QUANTITIES if name in curve.values]
    alt = (
        f"{curve.stage}: loss {curve.loss[0]:.3f} to {curve.loss[-1]:.3f} "
        f"over {curve.last_step} steps."
    )
    for name, (_, losses) in curve.heldout.items():
        alt += f" Held-out loss on {name} from {losses[0]:.3f} to {losses[-1]:.3f}."

    def draw(figure: Figure, wide: bool) -> None:
        drawn = panels(figure, len(shown), 2) if wide else _narrow(figure, len(shown))
        for name, axes in zip(shown, drawn, strict=True):
            _panel(axes, curve, name, color, 5 if wide else 4)
        for axes in drawn[-2:] if wide else drawn[-1:]:
            axes.set_xlabel("step")

    wide_rows, narrow_rows = -(-len(shown) // 2), 1 + len(shown) // 2
    return plot(key, alt, draw, (25 + 185 * wide_rows, 25 + 145 * narrow_rows))


def _narrow(figure: Figure, count: int) -> list[Axes]:
    """Returns axes for a phone: the loss over the full width, below it two in a row."""
    grid = figure.add_gridspec(1 + count // 2, 2)
    axes = [figure.add_subplot(grid[0, :])]
    while len(axes) < count:
        row, alone = 1 + (len(axes) - 1) // 2, len(axes) % 2 == 1 and len(axes) == count - 1
        place = grid[row, :] if alone else grid[row, (len(axes) - 1) % 2]
        axes.append(figure.add_subplot(place))
    return axes


def _panel(axes: Axes, curve: Curve, name: str, color: str, ticks: int) -> None:
    values = curve.values[name]
    marker = "o" if len(values) < _FEW else None
    axes.plot(curve.steps, values, color=color if name == "loss" else MUTED, marker=marker)
    axes.set_title(_TITLES[name], color=MUTED, fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x", visible=False)
    if name == "loss":
        _heldout(axes, curve)
        _spikes(axes, curve)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.2g}"))


def _heldout(axes: Axes, curve: Curve) -> None:
    """Draws held-out losses as dots with their set's name at the end of the line."""
    ends = sorted(((losses[-1], name) for name, (_, losses) in curve.heldout.items()), reverse=True)
    for name, (steps, losses) in curve.heldout.items():
        style = ("-", "--", ":", "-.")[sorted(curve.heldout).index(name) % 4]
        axes.plot(steps, losses, style, color=INK, marker="o", markersize=3.5, linewidth=1.1)
    low, high = axes.get_ylim()
    higher = float("inf")
    for loss, name in ends:
        steps, _ = curve.heldout[name]
        # Above the line's end, away from the loss of training; below where another line is near.
        above = higher - loss > _ROOM * (high - low)
        higher = loss
        said = axes.annotate(
            f"held out: {short(name)}",
            (steps[-1], loss),
            xytext=(0, 6 if above else -6),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            fontsize=10.5,
        )
        # A long name must not take the panel's place.
        said.set_in_layout(False)


def _spikes(axes: Axes, curve: Curve) -> None:
    points = [(s["step"], s["loss"]) for s in curve.spikes if s["loss"] is not None]
    if points:
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, losses, "v", color=ALARM, markersize=6)
