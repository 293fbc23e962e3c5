"""Plots of the report as inline SVG that follows the page's light or dark colours.

matplotlib draws with marker colours, which are then replaced by the page's CSS variables; text
stays text. Every plot is drawn twice, for a wide and for a narrow screen, and CSS shows one.
Nothing in the output depends on time or machine: hash salt fixed, no metadata.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eval.report.gather import Curve, Histogram

WIDE, NARROW = 700, 340
"""Widths in CSS pixels; one SVG unit is one pixel at that width."""

_INK, _MUTED, _RULE = "#0a0b01", "#0a0b02", "#0a0b03"
_SERIES = ("#0a0b11", "#0a0b12", "#0a0b13", "#0a0b14", "#0a0b15", "#0a0b16")
_ALARM = "#0a0b21"
_CSS = {
    _INK: "currentColor",
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    _ALARM: "var(--alarm)",
    **{color: f"var(--s{i})" for i, color in enumerate(_SERIES, 1)},
}
_STYLE: Any = {
    "svg.hashsalt": "astromill",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 12,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "grid.color": _RULE,
    "grid.linewidth": 1,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "lines.linewidth": 1.8,
}


def plot(key: str, alt: str, draw: Callable[[Figure, bool], None], heights: tuple[int, int]) -> str:
    """Returns HTML of one plot in both widths.

    Args:
        key: prefix of the ids inside, unique on the page.
        alt: what the plot shows, for those who do not see it.
        draw: draws into a figure; its second argument says whether it is the wide one.
        heights: pixels, wide and narrow.
    """
    parts = []
    for wide, width, height in ((True, WIDE, heights[0]), (False, NARROW, heights[1])):
        name = "wide" if wide else "narrow"
        with rc_context(_STYLE):
            layout = ConstrainedLayoutEngine(wspace=0.08, hspace=0.08)
            figure = Figure(figsize=(width / 72, height / 72), layout=layout)
            draw(figure, wide)
            svg = _svg(figure, f"{key}-{name}-", alt)
        parts.append(f'<div class="plot {name}">{svg}</div>')
    return "".join(parts)


def _svg(figure: Figure, prefix: str, alt: str) -> str:
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # Two plots on one page must not share ids: a clip path would cut the wrong one.
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = svg.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    for color, css in _CSS.items():
        svg = svg.replace(color, css)
    head = f'<svg role="img" aria-label="{escape(alt, quote=True)}"'
    svg = re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', rf"{_literal(head)} \1>", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def _panels(figure: Figure, count: int, wide: bool, share_y: bool) -> list[Axes]:
    shape = (1, count) if wide else (count, 1)
    grid = figure.subplots(*shape, squeeze=False, sharey=share_y and wide)
    return [axes for row in grid for axes in row]


def accuracy_plot(scores: dict[str, Any]) -> str:
    """Returns dots with 95% whiskers per model, a panel per group, chance as a dashed line."""
    models = scores["models"]
    groups = [
        g
        for g in models[0]["groups"]
        if any(m["groups"][g]["accuracy"] is not None for m in models)
    ]
    if not groups:
        return ""
    alt = "Accuracy with 95% Wilson intervals. " + " ".join(
        f"{m['name']} {g} {100 * m['groups'][g]['accuracy']:.1f}%."
        for g in groups
        for m in models
        if m["groups"][g]["accuracy"] is not None
    )

    def draw(figure: Figure, wide: bool) -> None:
        for group, axes in zip(groups, _panels(figure, len(groups), wide, True), strict=True):
            _accuracy_panel(axes, models, group)

    rows = len(models)
    return plot("accuracy", alt, draw, (70 + 34 * rows, (70 + 34 * rows) * len(groups)))


def _accuracy_panel(axes: Axes, models: Sequence[dict[str, Any]], group: str) -> None:
    for place, model in enumerate(models):
        values = model["groups"][group]
        if values["accuracy"] is None:
            continue
        color = _SERIES[place % len(_SERIES)]
        ends = [100 * values["low"], 100 * values["high"]]
        axes.plot(ends, [place, place], color=color, linewidth=2.4, solid_capstyle="round")
        axes.plot([100 * values["accuracy"]], [place], "o", color=color, markersize=8)
    chance = next(
        (m["groups"][group]["chance"] for m in models if m["groups"][group]["chance"]), None
    )
    if chance is not None:
        axes.axvline(100 * chance, color=_ALARM, linestyle=(0, (4, 3)), linewidth=1.4, zorder=1)
        axes.annotate(
            f"chance {100 * chance:.0f}%",
            (100 * chance, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -3),
            textcoords="offset points",
            va="top",
            color=_ALARM,
            fontsize=11,
        )
    axes.set_title({"domain": "In domain", "general": "General"}.get(group, group))
    axes.set_xlim(0, 100)
    axes.set_ylim(len(models) - 0.5, -0.85)
    axes.set_yticks(range(len(models)), [m["name"] for m in models], color=_INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}%"))
    axes.xaxis.set_major_locator(MaxNLocator(5))


def histogram_plot(histogram: Histogram) -> str:
    """Returns the perplexity distribution on a log axis with the threshold line."""
    alt = f"Histogram of the perplexity of {histogram.scored} paragraphs, log scale."
    if histogram.threshold is not None:
        alt += f" {histogram.above} lie above the threshold {histogram.threshold:.1f}."

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        left = histogram.edges[:-1]
        widths = [b - a for a, b in zip(left, histogram.edges[1:], strict=True)]
        axes.bar(left, histogram.counts, widths, align="edge", color=_SERIES[0], linewidth=0)
        axes.set_xscale("log")
        few = not wide and histogram.edges[-1] / histogram.edges[0] > 100
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if few else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("perplexity of a paragraph")
        axes.set_title("paragraphs", color=_MUTED, fontsize=12)
        if histogram.threshold is not None:
            # Room above the bars, so that the label stands free of them.
            axes.set_ylim(top=1.15 * max(histogram.counts))
            _threshold_line(axes, histogram.threshold, histogram.edges)

    return plot("perplexity", alt, draw, (250, 230))


def _threshold_line(axes: Axes, threshold: float, edges: Sequence[float]) -> None:
    axes.axvline(threshold, color=_ALARM, linestyle=(0, (4, 3)), linewidth=1.6)
    # The label goes to the side with more room on the log axis.
    right = threshold * threshold < edges[0] * edges[-1]
    axes.annotate(
        f"cut above {threshold:,.0f}",
        (threshold, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(6 if right else -6, -2),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        color=_ALARM,
    )


def _plain(value: float, _: Any = None) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,.10g}"


def curve_plot(curve: Curve) -> str:
    """Returns loss and learning rate over steps."""
    key = "curve-" + re.sub(r"\W", "-", curve.stage)
    alt = (
        f"{curve.stage}: loss {curve.loss[0]:.3f} to {curve.loss[-1]:.3f} "
        f"over {curve.last_step} steps."
    )

    def draw(figure: Figure, wide: bool) -> None:
        loss, rate = _panels(figure, 2, wide, False)
        for axes, values, title, color in (
            (loss, curve.loss, "loss (nats per token)", _SERIES[0]),
            (rate, curve.learning_rate, "learning rate", _SERIES[1]),
        ):
            marker = "o" if len(values) < 3 else None
            axes.plot(curve.steps, values, color=color, marker=marker)
            axes.set_title(title, color=_MUTED, fontsize=12)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="x", visible=False)
            axes.set_xlabel("step")
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.2g}"))

    return plot(key, alt, draw, (200, 380))
