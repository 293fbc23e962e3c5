"""How every plot of the report is drawn.

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

WIDE, NARROW = 700, 340
"""Widths in CSS pixels; one SVG unit is one pixel at that width."""

INK, MUTED, RULE, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
SERIES = tuple(f"#0a0b1{i}" for i in range(1, 9))
"""A colour per model, in the order of the tables."""
ALARM = "#0a0b21"
_CSS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--bg)",
    ALARM: "var(--alarm)",
    **{color: f"var(--s{i})" for i, color in enumerate(SERIES, 1)},
}
_STYLE: Any = {
    "svg.hashsalt": "astromill",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 1,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.8,
}
_LABEL_CHARS = 28


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


def panels(figure: Figure, count: int, columns: int, share: bool = False) -> list[Axes]:
    """Returns ``count`` axes in rows of ``columns``; what is left of the last row stays empty.

    Args:
        figure: drawn into.
        count: of the axes.
        columns: per row.
        share: the same vertical axis for all of a row.
    """
    rows = -(-count // columns)
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row" if share else False)
    axes = [axes for row in grid for axes in row]
    for spare in axes[count:]:
        spare.set_visible(False)
    return axes[:count]


def colors(models: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Returns label to colour; a model asked in several modes has one colour.

    Args:
        models: as ``scores.json`` lists them.
    """
    order = list(dict.fromkeys(base_name(model) for model in models))
    return {
        str(model["name"]): SERIES[order.index(base_name(model)) % len(SERIES)] for model in models
    }


def base_name(model: dict[str, Any]) -> str:
    """Returns a model's name without the mode it was asked in."""
    return str(model.get("model") or model["name"])


def short(label: str) -> str:
    """Returns a label that leaves room for the plot."""
    return label if len(label) <= _LABEL_CHARS else label[: _LABEL_CHARS - 1] + "…"


def plain(value: float, _: Any = None) -> str:
    """Returns an axis label: 12000 is ``12k``."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,.10g}"
