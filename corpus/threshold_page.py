"""``preview.html``: the perplexity histogram with the line, what each line cuts, and samples.

Like AstroMLab 3, Figure 1, as one page without outside resources or scripts. All text from data is
escaped by jinja2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"
_WIDTH, _HEIGHT = 640.0, 220.0
_BASE = 190.0
"""Where the x axis lies."""


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram, in SVG units."""

    x: float
    y: float
    width: float
    height: float
    cut: bool
    """It lies above the line."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in SVG units."""

    at: float
    label: str


@dataclass(frozen=True)
class Plot:
    """A histogram, ready to draw."""

    name: str
    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    line: float | None
    line_label: str
    line_left: bool
    """The label stands left of the line: there is no room on its right."""
    summary: str


def render_page(preview: dict[str, Any]) -> str:
    """Returns the page.

    Args:
        preview: what ``preview.json`` holds.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, ppl=_perplexity, share=_share)
    sources, per_decade = preview["sources"], preview["bins_per_decade"]
    pairs = {name: _pair(s["histogram"], s["line"], per_decade) for name, s in sources.items()}
    lines = {s["line"] for s in sources.values()}
    one = lines.pop() if len(lines) == 1 else None
    every = [(sum(n), sum(c)) for n, c in (zip(*bar, strict=True) for bar in _bins(pairs.values()))]
    plots = [_plot("all sources", every, per_decade, one)] if any(map(any, every)) else []
    if len(sources) > 1:
        plots += [
            _plot(name, pairs[name], per_decade, s["line"])
            for name, s in sources.items()
            if s["scored"]["paragraphs"]
        ]
    return environment.get_template("threshold.html.j2").render(
        preview=preview, plots=plots, line=preview["line"], one=one, width=_WIDTH, height=_HEIGHT
    )


Pair = tuple[int, int]
"""Paragraphs of a bin below and above the line."""


def _pair(counts: Sequence[int], line: float | None, per_decade: int) -> list[Pair]:
    """Parts a histogram at the line; the bin that holds it goes to the side it mostly lies on."""
    place = math.inf if line is None else math.log10(line) * per_decade
    return [(0, n) if number >= place - 0.5 else (n, 0) for number, n in enumerate(counts)]


def _bins(histograms: Iterable[list[Pair]]) -> list[tuple[Pair, ...]]:
    return list(zip(*histograms, strict=True))


def _plot(name: str, counts: Sequence[Pair], per_decade: int, line: float | None) -> Plot:
    used = [n for n, pair in enumerate(counts) if any(pair)]
    # Whole decades around what there is, so that the ends carry labels.
    first = used[0] // per_decade * per_decade
    last = -(-(used[-1] + 1) // per_decade) * per_decade
    place = None if line is None else math.log10(line) * per_decade
    unit = _WIDTH / (last - first)
    top = max(map(sum, counts))
    bars = []
    for number in used:
        base = _BASE
        for cut, count in enumerate(counts[number]):
            height = round(count / top * (_BASE - 20), 2)
            base = round(base - height, 2)
            x = round((number - first) * unit, 2)
            if count:
                bars.append(Bar(x, base, round(unit * 0.92, 2), height, bool(cut)))
    x_ticks = [
        Tick(round((decade * per_decade - first) * unit, 2), _power(decade))
        for decade in range(first // per_decade, last // per_decade + 1)
    ]
    at = None
    if place is not None and first <= place <= last:
        at = round((place - first) * unit, 2)
    return Plot(
        name=name,
        bars=bars,
        x_ticks=x_ticks,
        y_ticks=[Tick(20.0, _count(top)), Tick((_BASE + 20) / 2, _count(top // 2))],
        line=at,
        line_label="" if line is None else f"cut above {_perplexity(line)}",
        line_left=at is not None and at > _WIDTH * 0.7,
        summary=f"{sum(map(sum, counts)):,} paragraphs",
    )


def _power(decade: int) -> str:
    return f"{10**decade:,}" if decade <= 4 else f"1e{decade}"


def _count(value: int) -> str:
    return f"{value:,}"


def _perplexity(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 1e6:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "–"
