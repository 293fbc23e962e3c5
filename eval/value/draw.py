"""The two figures as files: PNG, SVG, and SVG for a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from core.atomic import atomic_file
from eval.value.cost_figure import draw_cost
from eval.value.style import LIGHT, PAGE, Theme, page_variables
from eval.value.table import ValueTable
from eval.value.time_figure import draw_time

_DPI = 150
_STYLE: Any = {
    "svg.hashsalt": "astromill",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "font.family": ["DejaVu Sans"],
}
"""Same bytes each time; text stays text; a ``$`` in a price is no formula."""

Draw = Callable[[Any, ValueTable, Theme, bool, int], None]


@dataclass(frozen=True)
class Kind:
    """One of the two figures.

    Args:
        key: file name without ending.
        title: of its page.
        draw: draws into an empty figure.
        size_inches: width and height of the PNG and SVG.
        names: models named in it.
        wide, narrow: width and height in CSS pixels, and models named, on a page.
    """

    key: str
    title: str
    draw: Draw
    size_inches: tuple[float, float]
    names: int
    wide: tuple[int, int, int]
    narrow: tuple[int, int, int]


COST = Kind(
    key="figure3",
    title="Score against cost",
    draw=draw_cost,
    size_inches=(10.5, 7.5),
    names=36,
    wide=(960, 660, 34),
    narrow=(370, 520, 9),
)
TIME = Kind(
    key="figure4",
    title="Score and value over time",
    draw=draw_time,
    size_inches=(10.5, 8.5),
    names=18,
    wide=(960, 820, 18),
    narrow=(370, 700, 6),
)
KINDS = (COST, TIME)


def save_figure(kind: Kind, table: ValueTable, path: Path) -> None:
    """Draws a figure on white, for papers and slides.

    Args:
        kind: which one.
        table: the models.
        path: ``.png`` or ``.svg``; written anew.
    """
    svg = path.suffix == ".svg"
    metadata = {"Date": None, "Creator": None} if svg else {"Software": None}
    with (
        _drawn(kind, table, LIGHT, kind.size_inches, True, kind.names) as figure,
        atomic_file(path) as temporary,
    ):
        figure.savefig(temporary, format=path.suffix[1:], dpi=_DPI, metadata=metadata)


def page_svgs(kind: Kind, table: ValueTable) -> list[tuple[str, str]]:
    """Draws a figure for a page: colours are the page's variables, points know their model.

    Returns:
        (``wide`` or ``narrow``, SVG); the page's style shows the one that fits.
    """
    found = []
    for name, (width, height, names) in (("wide", kind.wide), ("narrow", kind.narrow)):
        size = (width / 72, height / 72)
        with _drawn(kind, table, PAGE, size, False, names) as figure:
            buffer = io.StringIO()
            metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
        found.append((name, _page_svg(buffer.getvalue(), f"{kind.key}-{name}-", kind.title)))
    return found


@contextmanager
def _drawn(
    kind: Kind,
    table: ValueTable,
    theme: Theme,
    size_inches: tuple[float, float],
    legend: bool,
    names: int,
) -> Iterator[Any]:
    """Yields the drawn figure; our style lasts until it has been saved."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size_inches, layout="constrained", dpi=72)
        FigureCanvasAgg(figure)
        kind.draw(figure, table, theme, legend, names)
        yield figure


def _page_svg(svg: str, prefix: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # A model's group says which one it is: the script finds it by that, the style dims it.
    svg = re.sub(r'<g id="model-(\d+)[a-z-]*">', r'<g class="model" data-model="\1">', svg)
    # Two drawings on one page must not share ids: a clip path would cut the wrong one.
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = svg.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    for colour, variable in page_variables().items():
        svg = svg.replace(colour, variable)
    label = escape(f"{title}; the table below has every number", quote=True)
    head = f'<svg role="img" aria-label="{label}"'
    svg = re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', lambda m: f"{head} {m[1]}>", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()
