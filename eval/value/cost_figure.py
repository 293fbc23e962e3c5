"""Score against cost, as Figure 3 of AstroMLab 4."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

from core.intervals import wilson
from eval.value.equation import POINTS_PER_DECADE, score_at
from eval.value.labels import Label, place_labels
from eval.value.legend import colour_axes, draw_legend, model_id
from eval.value.style import ASTROSAGE, Theme, family_places, marker, notable, short_name
from eval.value.table import Entry, ValueTable

HUMAN_LOW_PERCENT, HUMAN_HIGH_PERCENT = 67.0, 68.0
"""Professional astronomers: around 67% (AstroMLab 4, section 4.2); two experts with 30 s for a
question and nothing to look up, about 68% (AstroMLab 3, text on Figure 3)."""
ARCHIVE_TOKENS = 3e9
"""Of all of arXiv's astro-ph, roughly: the upper axis of AstroMLab 3's Figure 3."""
LINE_TEXT = f"equal value:\n{POINTS_PER_DECADE:g} points for\n10 times the cost"
_EXAMPLE_SHARE = 0.80
_EXAMPLE_PLACE = 0.955
"""Where the sample interval stands, as a share of the axes' width."""


def draw_cost(figure: Any, table: ValueTable, theme: Theme, legend: bool, names: int) -> None:
    """Draws score against cost with lines of equal value.

    Costs are US dollars per 0.1M tokens where the baseline's price is known, else relative to it.

    Args:
        figure: of matplotlib, empty, with an Agg canvas.
        table: the models; those without a cost are left out.
        theme: the colours.
        legend: whether families and shapes are explained in the drawing.
        names: how many models are named beside their points.
    """
    axes = figure.subplots()
    entries = table.placed()
    anchor = log10(table.baseline_usd) if table.baseline_usd else 0.0
    logs = [_log_cost(entry) for entry in entries]
    scores = [entry.score.value for entry in entries]
    left, right = anchor + min(logs) - 0.35, anchor + max(logs) + 0.45
    bottom, top = min([*scores, HUMAN_LOW_PERCENT]) - 2.5, min(100.0, max(scores) + 2.5)
    axes.set(xlim=(10**left, 10**right), ylim=(bottom, top), xscale="log")
    axes.set_ylabel("score on the benchmark (%)")
    if table.baseline_usd:
        axes.set_xlabel("cost of 0.1M tokens (US dollars, mean of input and output)")
        _archive_axis(axes, theme)
    else:
        axes.set_xlabel(f"cost relative to {table.baseline}")
    colour_axes(axes, theme)
    texts = [*_value_lines(axes, table, theme, anchor, (left, right), (bottom, top))]
    texts.append(_human_band(axes, theme))
    texts.append(_interval_example(axes, table, theme, bottom))
    _points(axes, table, entries, theme, anchor)
    if legend:
        draw_legend(figure, entries, theme, LINE_TEXT)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    place_labels(
        axes,
        _labels(entries, table, theme, anchor, names),
        [
            (10 ** (anchor + _log_cost(entry)), entry.score.value, marker(entry)[1] / 2)
            for entry in entries
        ]
        + _bars(entries, anchor),
        texts,
    )


def _log_cost(entry: Entry) -> float:
    assert entry.log_cost is not None
    return entry.log_cost.value


def _archive_axis(axes: Any, theme: Theme) -> None:
    from matplotlib.ticker import FuncFormatter

    scale = ARCHIVE_TOKENS / 1e5
    upper = axes.secondary_xaxis("top", functions=(lambda x: x * scale, lambda x: x / scale))
    upper.set_xlabel(f"cost of {ARCHIVE_TOKENS / 1e9:g} billion tokens, about all of astro-ph")
    upper.xaxis.set_major_formatter(FuncFormatter(lambda usd, _: f"${usd:,.0f}"))
    upper.xaxis.label.set_color(theme.muted)
    upper.tick_params(colors=theme.muted, which="both")
    upper.spines["top"].set_color(theme.muted)
    lower = FuncFormatter(lambda usd, _: f"${usd:,.10g}")
    axes.xaxis.set_major_formatter(lower)


def _value_lines(
    axes: Any,
    table: ValueTable,
    theme: Theme,
    anchor: float,
    across: tuple[float, float],
    height: tuple[float, float],
) -> list[Any]:
    """Draws the lines of equal value, one for each whole number; returns their numbers' texts."""
    base = table.find(table.baseline, "baseline").score.value
    left, right = across
    reach = [score_at(0, end - anchor, base) for end in across]
    lowest = ceil((height[0] - max(reach)) / POINTS_PER_DECADE)
    highest = floor((height[1] - min(reach)) / POINTS_PER_DECADE)
    texts = []
    for value in range(lowest, highest + 1):
        ends = [score_at(value, end - anchor, base) for end in across]
        dashes = (0, (5, 4))
        axes.plot(
            [10**left, 10**right], ends, linestyle=dashes, color=theme.band, linewidth=0.7,
            alpha=0.7, zorder=1,
        )  # fmt: skip
        if height[0] + 0.5 < ends[0] < height[1] - 1:
            shown = f"{value:+d}".replace("-", "−") if value else "value 0"
            texts.append(
                axes.annotate(
                    shown,
                    (10**left, ends[0]),
                    xytext=(3, 2),
                    textcoords="offset points",
                    fontsize=7.5,
                    color=theme.muted,
                    va="bottom",
                )
            )
    return texts


def _human_band(axes: Any, theme: Theme) -> Any:
    axes.axhspan(
        HUMAN_LOW_PERCENT, HUMAN_HIGH_PERCENT, color=theme.band, alpha=0.35, linewidth=0, zorder=0
    )
    return axes.annotate(
        f"astronomers, {HUMAN_LOW_PERCENT:.0f}–{HUMAN_HIGH_PERCENT:.0f}%",
        (1.0, HUMAN_HIGH_PERCENT),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=theme.muted,
    )


def _interval_example(axes: Any, table: ValueTable, theme: Theme, bottom: float) -> Any:
    """Draws the size of the 95% Wilson interval, away from the points; returns its text."""
    count = table.questions
    low, high = wilson(round(_EXAMPLE_SHARE * count), count)
    middle = bottom + 4
    down, up = 100 * (_EXAMPLE_SHARE - low), 100 * (high - _EXAMPLE_SHARE)
    axes.errorbar(
        [_EXAMPLE_PLACE], [middle], yerr=[[down], [up]], transform=axes.get_yaxis_transform(),
        color=theme.ink, capsize=3, linewidth=1.2,
    )  # fmt: skip
    return axes.annotate(
        f"95% Wilson interval,\n{count:,} questions\nat {100 * _EXAMPLE_SHARE:.0f}%: "
        f"−{down:.1f} +{up:.1f}",
        (_EXAMPLE_PLACE, middle),
        xycoords=("axes fraction", "data"),
        xytext=(-8, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7.5,
        color=theme.muted,
    )


def _points(
    axes: Any, table: ValueTable, entries: Sequence[Entry], theme: Theme, anchor: float
) -> None:
    places = family_places(entry.family for entry in table.entries)
    for entry in entries:
        shape, size = marker(entry)
        colour = theme.families[places[entry.family]]
        x = 10 ** (anchor + _log_cost(entry))
        if entry.own:
            low, high = entry.wilson_percent()
            axes.plot([x, x], [low, high], color=colour, linewidth=1.4, zorder=3)
        axes.plot(
            [x], [entry.score.value], shape, color=colour, markersize=size,
            markeredgecolor=theme.paper, markeredgewidth=0.6, zorder=5 if size > 7 else 4,
            gid=model_id(table, entry),
        )  # fmt: skip


def _bars(entries: Sequence[Entry], anchor: float) -> list[tuple[float, float, float]]:
    """Returns places along the intervals of own models, for names to keep off."""
    places = []
    for entry in entries:
        if entry.own:
            low, high = entry.wilson_percent()
            x = 10 ** (anchor + _log_cost(entry))
            places += [(x, low + (high - low) * step / 40, 2.0) for step in range(41)]
    return places


def _labels(
    entries: Sequence[Entry], table: ValueTable, theme: Theme, anchor: float, names: int
) -> list[Label]:
    places = family_places(entry.family for entry in table.entries)
    return [
        Label(
            10 ** (anchor + _log_cost(entry)),
            entry.score.value,
            short_name(entry.name),
            theme.families[places[entry.family]],
            entry.own or entry.family == ASTROSAGE,
        )
        for entry in notable(entries, table.baseline, names)
    ]
