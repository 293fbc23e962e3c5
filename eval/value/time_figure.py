"""Score and value against release date, as Figure 4 of AstroMLab 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from eval.value.labels import Label, place_labels
from eval.value.legend import colour_axes, draw_legend, model_id
from eval.value.style import ASTROSAGE, Theme, family_places, marker, notable, short_name
from eval.value.table import Entry, ValueTable
from eval.value.trend import best_so_far, dated, half_years

TREND_HALF_WIDTH = 0.5
"""Of the shaded trend: half a decade to either side. The paper does not say how wide its is."""
_EPOCH = date(1970, 1, 1)
_MARGIN_DAYS = 45
_SAMPLES, _LINE_HALF = 200, 1.5
"""Squares across a panel that stand for a line, and half of one, in points."""

Number = Callable[[Entry], float | None]


def draw_time(figure: Any, table: ValueTable, theme: Theme, legend: bool, names: int) -> None:
    """Draws scores above and values below, against the day of release.

    Step functions are the best open and proprietary models so far, without AstroSage and own
    models, which have a line each at their level. The shaded trend starts at the baseline with
    value 0 and rises by 1 every six months.

    Args:
        figure: of matplotlib, empty, with an Agg canvas.
        table: the models; those without a date are left out.
        theme: the colours.
        legend: whether families and shapes are explained in the drawing.
        names: how many models are named in each panel.
    """
    upper, lower = figure.subplots(2, 1, sharex=True)
    entries = dated(table.entries)
    days = [_day(entry) for entry in entries]
    first, last = min(days) - timedelta(_MARGIN_DAYS), max(days) + timedelta(3 * _MARGIN_DAYS)
    for axes, title, number in ((upper, "score (%)", _score), (lower, "value score", _value)):
        colour_axes(axes, theme)
        axes.set_ylabel(title)
        axes.set_xlim(_at(first), _at(last))
        known = [entry for entry in entries if number(entry) is not None]
        if known:
            numbers = [number(entry) or 0.0 for entry in known]
            room = 0.06 * (max(numbers) - min(numbers)) + 0.3
            axes.set_ylim(min(numbers) - room, max(numbers) + room)
            _levels(axes, known, number, theme, table)
            _steps(axes, known, number, theme, last)
            panel = "-score" if axes is upper else "-value"
            _points(axes, table, known, number, theme, panel)
    _date_axis(lower, theme)
    lower.set_xlabel("release")
    _trend(lower, table, theme, last)
    for axes in (upper, lower):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", frameon=False, fontsize=8, labelcolor=theme.ink)
    if legend:
        draw_legend(figure, entries, theme, "")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, number in ((upper, _score), (lower, _value)):
        _name(axes, table, entries, number, theme, names)


def _score(entry: Entry) -> float | None:
    return entry.score.value


def _value(entry: Entry) -> float | None:
    return entry.value.value if entry.value else None


def _day(entry: Entry) -> date:
    assert entry.released is not None
    return entry.released.day


def _at(day: date) -> float:
    # matplotlib counts days from the start of 1970.
    return float((day - _EPOCH).days)


def _ours(entry: Entry) -> bool:
    return entry.own or entry.family == ASTROSAGE


def _steps(axes: Any, entries: Sequence[Entry], number: Number, theme: Theme, last: date) -> None:
    kinds = (
        ("open", theme.open_best, "best open"),
        ("proprietary", theme.proprietary_best, "best proprietary"),
    )
    for access, colour, text in kinds:
        found = [e for e in entries if e.access == access and not _ours(e)]
        steps = best_so_far(found, number)
        if not steps:
            continue
        heights = [number(entry) or 0.0 for _, entry in steps]
        axes.step(
            [*(_at(day) for day, _ in steps), _at(last)],
            [*heights, heights[-1]],
            where="post",
            color=colour,
            linewidth=2.0,
            alpha=0.85,
            zorder=2,
            label=text,
        )


def _levels(
    axes: Any, entries: Sequence[Entry], number: Number, theme: Theme, table: ValueTable
) -> None:
    places = family_places(entry.family for entry in table.entries)
    for entry in entries:
        if _ours(entry):
            colour = theme.families[places[entry.family]]
            axes.axhline(number(entry), color=colour, linewidth=1.0, linestyle=":", zorder=1)


def _points(
    axes: Any,
    table: ValueTable,
    entries: Sequence[Entry],
    number: Number,
    theme: Theme,
    panel: str,
) -> None:
    places = family_places(entry.family for entry in table.entries)
    for entry in entries:
        shape, size = marker(entry)
        axes.plot(
            [_at(_day(entry))], [number(entry)], shape, color=theme.families[places[entry.family]],
            markersize=size, markeredgecolor=theme.paper, markeredgewidth=0.6,
            zorder=5 if size > 7 else 4, gid=model_id(table, entry, panel),
        )  # fmt: skip


def _trend(axes: Any, table: ValueTable, theme: Theme, last: date) -> None:
    """Shades +1 every six months from the baseline on."""
    base = table.find(table.baseline, "baseline")
    if base.released is None:
        return
    start = base.released.day
    ends = [half_years(start, day) for day in (start, last)]
    bottom, top = axes.get_ylim()
    axes.fill_between(
        [_at(start), _at(last)],
        [end - TREND_HALF_WIDTH for end in ends],
        [end + TREND_HALF_WIDTH for end in ends],
        color=theme.band,
        alpha=0.3,
        linewidth=0,
        zorder=0,
        label="+1 every six months",
    )
    axes.set_ylim(bottom, top)


def _date_axis(axes: Any, theme: Theme) -> None:
    from matplotlib import dates

    ticks: Any = dates  # without types
    locator = ticks.AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ticks.ConciseDateFormatter(locator, show_offset=False))
    axes.tick_params(colors=theme.muted, which="both")


def _name(
    axes: Any,
    table: ValueTable,
    entries: Sequence[Entry],
    number: Number,
    theme: Theme,
    names: int,
) -> None:
    places = family_places(entry.family for entry in table.entries)
    known = [entry for entry in entries if number(entry) is not None]
    steps = [
        entry
        for access in ("open", "proprietary")
        for _, entry in best_so_far([e for e in known if e.access == access], number)
    ]
    # Whoever was the best of a time comes before those that stand out otherwise.
    first = [e for e in notable(known, table.baseline, 0) if _ours(e) or e.name == table.baseline]
    chosen = dict.fromkeys(e.name for e in [*first, *reversed(steps)])
    by_name = {entry.name: entry for entry in known}
    legend = axes.get_legend()
    labels = [
        Label(
            _at(_day(by_name[name])),
            number(by_name[name]) or 0.0,
            short_name(name),
            theme.families[places[by_name[name].family]],
            _ours(by_name[name]),
        )
        for name in list(chosen)[:names]
    ]
    place_labels(
        axes,
        labels,
        [(_at(_day(e)), number(e) or 0.0, marker(e)[1] / 2) for e in known] + _lines(axes),
        [legend] if legend else [],
    )


def _lines(axes: Any) -> list[tuple[float, float, float]]:
    """Returns places along the steps and levels of a panel, for names to keep off."""
    left, right = axes.get_xlim()
    places = []
    for line in axes.lines:
        found = [(float(x), float(y)) for x, y in line.get_xydata()]
        level = len(found) == 2 and line.get_linestyle() == ":"
        if line.get_drawstyle() != "steps-post" and not level:
            continue
        if level:
            found = [(left, found[0][1]), (right, found[1][1])]
        for (x, y), (next_x, _) in pairwise(found):
            count = max(1, round(_SAMPLES * (next_x - x) / (right - left)))
            places += [(x + (next_x - x) * k / count, y, _LINE_HALF) for k in range(count + 1)]
    return places
