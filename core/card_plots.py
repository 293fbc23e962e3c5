"""The picture on a card: what there is, and what was removed. Same facts, same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.atomic import atomic_file
from core.card_facts import Facts, Group, step_reasons
from core.licences import hub_licence

PLOT_NAME = "card.png"

_SHOWN = 12
_LABEL_CHARS = 36


def draw_card(facts: Facts, path: Path) -> bool:
    """Draws sources, licences, years and what each step removed, as a PNG.

    Args:
        facts: the numbers.
        path: the picture, replaced.

    Returns:
        False where there is nothing to draw; no file is then there.
    """
    panels = _panels(facts)
    path.unlink(missing_ok=True)
    if not panels:
        return False
    # Here, since the command line must not wait a second for what few commands draw. A figure of
    # its own, not pyplot's: no window system is asked for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(13, 3.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, bars) in enumerate(panels, 1):
        axes = figure.add_subplot(rows, min(2, len(panels)), number)
        _draw_bars(axes, title, bars)
    with atomic_file(path) as temporary:
        # The name and version of the program that drew it is left out.
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
    return True


def _panels(facts: Facts) -> list[tuple[str, list[tuple[str, int]]]]:
    """Returns (title, bars) of every panel that has something to show."""
    unit = "tokens" if any(group.tokens is not None for group in facts.sources) else "documents"
    by_licence: dict[str, int] = {}
    for group in facts.licences:
        name = hub_licence(group.name) or "not stated"
        by_licence[name] = by_licence.get(name, 0) + _size(group)
    dated = [group for group in facts.years if group.name]
    removed = [(f"{reason} ({stage})", rows) for stage, reason, rows in step_reasons(facts.steps)]
    panels = [
        (f"{unit} by source", _largest([(g.name, _size(g)) for g in facts.sources])),
        (f"{unit} by licence", _largest(list(by_licence.items()))),
        (f"{unit} by year", [(g.name, _size(g)) for g in dated][-_SHOWN * 2 :]),
        ("rows removed, by reason and step", _largest(removed)),
    ]
    return [(title, bars) for title, bars in panels if bars]


def _size(group: Group) -> int:
    return group.documents if group.tokens is None else group.tokens


def _largest(bars: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    ordered = sorted(bars, key=lambda bar: (-bar[1], bar[0]))
    shown, rest = ordered[:_SHOWN], ordered[_SHOWN:]
    return [*shown, (f"{len(rest)} more", sum(n for _, n in rest))] if rest else shown


def _draw_bars(axes: Any, title: str, bars: Sequence[tuple[str, int]]) -> None:
    # By number, since two long labels may be cut to the same text.
    places = range(len(bars))
    axes.barh(places, [value for _, value in bars], color="#4878a8")
    axes.set_yticks(places, [_label(name) for name, _ in bars], fontsize="small")
    axes.invert_yaxis()
    axes.set_title(title, fontsize="medium", loc="left")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="x", labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _label(name: str) -> str:
    short = name if len(name) <= _LABEL_CHARS else name[: _LABEL_CHARS - 1] + "…"
    # Two dollar signs would make it a formula.
    return short.replace("$", r"\$")
