"""Plots of the corpus: perplexity of paragraphs, dates of documents."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eval.report.gather.corpus import Histogram
from eval.report.plots.base import ALARM, MUTED, SERIES, plain, plot


def histogram_plot(histogram: Histogram) -> str:
    """Returns the perplexity distribution on a log axis with the threshold line."""
    alt = f"Histogram of the perplexity of {histogram.scored} paragraphs, log scale."
    if histogram.threshold is not None:
        alt += f" {histogram.above} lie above the threshold {histogram.threshold:.1f}."

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        left = histogram.edges[:-1]
        widths = [b - a for a, b in zip(left, histogram.edges[1:], strict=True)]
        bars = axes.bar(left, histogram.counts, widths, align="edge", color=SERIES[0], linewidth=0)
        if histogram.threshold is not None:
            for bar, edge in zip(bars, left, strict=True):
                if edge >= histogram.threshold:
                    bar.set_color(ALARM)
        axes.set_xscale("log")
        few = not wide and histogram.edges[-1] / histogram.edges[0] > 100
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if few else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("perplexity of a paragraph")
        axes.set_title("paragraphs", color=MUTED, fontsize=12)
        if histogram.threshold is not None:
            # Room above the bars, so that the label stands free of them.
            axes.set_ylim(top=1.15 * max(histogram.counts))
            _threshold_line(axes, histogram.threshold, histogram.edges)

    return plot("perplexity", alt, draw, (250, 230))


def _threshold_line(axes: Axes, threshold: float, edges: Sequence[float]) -> None:
    axes.axvline(threshold, color=ALARM, linestyle=(0, (4, 3)), linewidth=1.6)
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
        color=ALARM,
    )


def years_plot(years: dict[int, int]) -> str:
    """Returns documents per year as bars.

    Args:
        years: year to documents; years without any are drawn as gaps.
    """
    first, last = min(years), max(years)
    alt = f"Documents by year, {first} to {last}; most in {max(years, key=lambda y: years[y])}."

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        axes.bar(list(years), list(years.values()), 0.85, color=SERIES[0], linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(9 if wide else 5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.grid(axis="x", visible=False)
        axes.set_title("documents by year", color=MUTED, fontsize=12)

    return plot("years", alt, draw, (150, 150))
