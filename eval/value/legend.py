"""What the two figures share: axes' colours, the legend, the marks of points in an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.value.style import ASTROSAGE, OWN, Theme, family_places
from eval.value.table import Entry, ValueTable


def model_id(table: ValueTable, entry: Entry, panel: str = "") -> str:
    """Returns what marks a model's point in an SVG; ``panel`` where it is drawn more than once."""
    return f"model-{table.entries.index(entry)}{panel}"


def colour_axes(axes: Any, theme: Theme) -> None:
    """Gives axes, ticks and grid the theme's colours."""
    axes.grid(color=theme.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(theme.muted)
    axes.tick_params(colors=theme.muted, which="both")
    axes.xaxis.label.set_color(theme.muted)
    axes.yaxis.label.set_color(theme.muted)


def draw_legend(figure: Any, entries: Sequence[Entry], theme: Theme, line: str) -> None:
    """Explains shapes, the dashed line and the families' colours, right of the axes."""
    from matplotlib.lines import Line2D

    def handle(shape: str, size: float, colour: str, text: str) -> Any:
        return Line2D([], [], linestyle="", marker=shape, markersize=size, color=colour, label=text)

    kinds = {"open": ("^", 6.5, "open weights"), "proprietary": ("o", 5.5, "proprietary")}
    handles = [
        handle(shape, size, theme.muted, text)
        for access, (shape, size, text) in kinds.items()
        if any(entry.access == access for entry in entries)
    ]
    if any(entry.own for entry in entries):
        handles.append(handle("D", 7, theme.ink, "this run"))
    if line:
        handles.append(Line2D([], [], color=theme.band, linestyle=(0, (5, 4)), label=line))
    for family, place in family_places(entry.family for entry in entries).items():
        if family != OWN:
            shape, size = ("*", 11) if family == ASTROSAGE else ("s", 6)
            handles.append(handle(shape, size, theme.families[place], family))
    box = figure.legend(
        handles=handles, loc="outside right center", frameon=False, fontsize=8.5, labelspacing=0.7
    )
    for text in box.get_texts():
        text.set_color(theme.ink)
