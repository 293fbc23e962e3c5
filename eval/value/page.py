"""A figure as one HTML file that explains itself: search, filters, every number on hover.

Works from disk without a network. Written by hand, not with Plotly: its script alone is 4.6 MB in
each file and its points cannot be reached by keyboard; here a page is about 0.3 MB, the drawing is
the same as in PNG and SVG, follows light and dark, and is there without script, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval.value.draw import COST, Kind, page_svgs
from eval.value.equation import POINTS_PER_DECADE, Rounded
from eval.value.style import (
    ASTROSAGE,
    DARK_FAMILIES,
    LIGHT_FAMILIES,
    OWN,
    family_places,
    shape_name,
)
from eval.value.table import Entry, ValueTable, by_value, in_order

_TEMPLATES = Path(__file__).parent / "templates"
_DASH = "–"


def render_page(kind: Kind, table: ValueTable, notes: list[str]) -> str:
    """Returns the page of a figure.

    Args:
        kind: which one.
        table: the models; all are in the page's table, whatever is drawn.
        notes: sentences below the figure: where the numbers are from.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = environment.get_template("value.css").render(
        light=Markup(_colours(LIGHT_FAMILIES)), dark=Markup(_colours(DARK_FAMILIES))
    )
    places = family_places(entry.family for entry in table.entries)
    # Drawings come from matplotlib, which escapes names; the rest is escaped here.
    svgs = [(name, Markup(svg)) for name, svg in page_svgs(kind, table)]
    return environment.get_template("value.html.j2").render(
        title=kind.title,
        lead=_lead(kind, table),
        css=Markup(css),
        js=Markup((_TEMPLATES / "value.js").read_text(encoding="utf-8")),
        kinds=_kinds(table),
        families=[(family, place) for family, place in places.items() if family != OWN],
        svgs=svgs,
        caption=_caption(kind, table),
        notes=[*notes, *_missing(kind, table)],
        heads=_heads(table),
        rows=_rows(table),
        models=Markup(_json([_record(entry, table) for entry in table.entries])),
    )


def _colours(families: tuple[str, ...]) -> str:
    return " ".join(f"--f{place}: {colour};" for place, colour in enumerate(families))


def _json(value: Any) -> str:
    """Returns JSON that cannot end the script element that it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _lead(kind: Kind, table: ValueTable) -> str:
    best = next((e for e in table.entries if e.rank_by_value == 1), None)
    what = "what a model knows against what it costs" if kind is COST else "how fast models improve"
    text = f"{len(table.entries)} models on {table.questions:,} questions: {what}."
    if best is not None and best.value is not None:
        text += f" The best value is {best.name}'s, {signed(best.value.value)}."
    return text


def _kinds(table: ValueTable) -> list[tuple[str, str]]:
    found = [("open weights", "open"), ("proprietary", "proprietary"), ("frontier", "frontier")]
    if any(entry.own for entry in table.entries):
        found.append(("this run", OWN))
    return found


def _caption(kind: Kind, table: ValueTable) -> str:
    shapes = "Triangles have open weights, circles are proprietary"
    if any(entry.family == ASTROSAGE for entry in table.entries):
        shapes += ", stars are AstroSage"
    if any(entry.own for entry in table.entries):
        shapes += ", diamonds are models of this run"
    if kind is COST:
        return (
            f"{shapes}. Along a dashed line the value is the same: {POINTS_PER_DECADE:g} points "
            f"for ten times the cost; {table.baseline} has value 0. The grey band is what "
            "professional astronomers score. Costs that follow from a published value are known to "
            "its rounding, about 8%."
        )
    return (
        f"{shapes}. Steps are the best open and the best proprietary model so far; dotted lines "
        f"the levels of AstroSage and of this run. The shaded trend starts at {table.baseline} and "
        "rises by 1 every six months, half a decade to either side. A release of which only the "
        "month is known stands in its middle."
    )


def _missing(kind: Kind, table: ValueTable) -> list[str]:
    if kind is COST:
        names = [entry.name for entry in table.entries if not entry.placed]
        return [f"Not drawn, since the cost is not known: {', '.join(names)}."] if names else []
    names = [entry.name for entry in table.entries if entry.released is None]
    return [f"Not drawn, since the release is not known: {', '.join(names)}."] if names else []


def _heads(table: ValueTable) -> list[str]:
    cost = "USD per 0.1M tokens" if table.baseline_usd else f"cost / {table.baseline}'s"
    names = ["by score", "by value", "model", "family", "access", "score (%)", "value"]
    return [*names, cost, "release"]


def _rows(table: ValueTable) -> list[dict[str, Any]]:
    return [
        {"number": table.entries.index(e), "own": e.own, "cells": _cells(e, table)}
        for e in in_order(table, by_value)
    ]


def _cells(entry: Entry, table: ValueTable) -> list[dict[str, Any]]:
    def cell(key: Any, text: str, small: str = "") -> dict[str, Any]:
        return {"key": "" if key is None else key, "text": text, "small": small}

    low, high = entry.wilson_percent()
    cost = _cost(entry, table)
    value, release = entry.value, entry.released
    return [
        cell(entry.rank_by_score, str(entry.rank_by_score)),
        cell(entry.rank_by_value, str(entry.rank_by_value or _DASH)),
        cell(entry.name.casefold(), entry.name),
        cell(entry.family, entry.family),
        cell(entry.access, entry.access),
        cell(entry.score.value, f"{entry.score.value:.1f}", f"{low:.1f}–{high:.1f}"),
        cell(value.value if value else None, signed(value.value) if value else _DASH),
        cell(cost.value if cost else None, _short(cost.powers()[1]) if cost else _DASH),
        cell(release.day if release else None, release.text if release else _DASH),
    ]


def _record(entry: Entry, table: ValueTable) -> dict[str, Any]:
    """Returns what the script knows of a model."""
    low, high = entry.wilson_percent()
    score = f"score {entry.score.value:.1f}% (95% {low:.1f} to {high:.1f})"
    lines = [f"{score}, no. {entry.rank_by_score}"]
    if entry.value is not None:
        lines.append(f"value {signed(entry.value.value)}, no. {entry.rank_by_value}")
    if cost := _cost(entry, table):
        ends = [_short(end) for end in cost.powers()]
        unit = "$ per 0.1M tokens" if table.baseline_usd else f"× {table.baseline}"
        around = "" if ends[0] == ends[2] else f" ({ends[0]} to {ends[2]})"
        lines.append(f"cost {ends[1]} {unit}{around}, by {entry.cost_source}")
    if entry.released is not None:
        lines.append(f"released {entry.released.text}")
    access = "open weights" if entry.access == "open" else "proprietary"
    lines.append(f"{entry.family}, {access}" + (", on the frontier" if entry.frontier else ""))
    kinds = [entry.access, shape_name(entry)]
    kinds += ["frontier"] if entry.frontier else []
    kinds += [OWN] if entry.own else []
    return {"name": entry.name, "family": entry.family, "kinds": kinds, "lines": lines}


def _cost(entry: Entry, table: ValueTable) -> Rounded | None:
    """Returns log10 of the cost: in dollars where they are known, else relative."""
    return table.usd(entry) or entry.log_cost


def _short(cost: float) -> str:
    return f"{cost:.3g}" if cost >= 1e-4 else f"{cost:.2e}"


def signed(value: float) -> str:
    """Returns a value score as the paper writes it: +4.12, with a true minus sign."""
    return f"{value:+.2f}".replace("-", "−") if round(value, 2) else "0.00"
