"""Colours, markers and texts of the two figures.

A family has a colour, an open-weight model a triangle, a proprietary one a circle, AstroSage a star
(AstroMLab 4, Figure 3); an own model is a diamond. A page has the same drawing with placeholders
for colours, which become its style's variables, so that it follows light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eval.value.table import Entry

ASTROSAGE, OWN = "AstroSage", "own"
_KNOWN = (
    ASTROSAGE, OWN, "OpenAI", "Anthropic", "Google", "Meta", "Alibaba", "Zhipu", "DeepSeek",
    "Mistral", "Microsoft", "xAI", "Moonshot", "MiniMax",
)  # fmt: skip
"""Families with a fixed colour; others take what is left, in the order of their names."""

LIGHT_FAMILIES = (
    "#c8102e", "#111111", "#0b8563", "#b05828", "#2a6fdb", "#7b4fd3", "#c83f92", "#147a90",
    "#27409c", "#a66300", "#597a12", "#5d646b", "#8a5444", "#837200", "#b03a5b", "#3f7f3f",
)  # fmt: skip
"""On white; names have these colours, so each has a contrast of 4.5 to 1 (WCAG 2.2, 1.4.3)."""
DARK_FAMILIES = (
    "#ff5d70", "#f4f4f4", "#3fcfa4", "#ec9a66", "#74a9ff", "#b494ff", "#f283c1", "#56c8df",
    "#93a6f5", "#f2ac3c", "#a9cf56", "#a9b1b9", "#c99484", "#dcc94a", "#f08aa6", "#86cc86",
)  # fmt: skip
"""On near-black, likewise."""


@dataclass(frozen=True)
class Theme:
    """Colours of a drawing.

    Args:
        ink, muted, rule, paper: text, axes, lines of the grid, background.
        open_best, proprietary_best: the step functions: teal and orange (AstroMLab 4, Figure 4).
        band: human experts, and the trend.
        families: a colour for each place of :func:`family_places`.
    """

    ink: str
    muted: str
    rule: str
    paper: str
    open_best: str
    proprietary_best: str
    band: str
    families: tuple[str, ...]


LIGHT = Theme(
    "#1c2126", "#5c6670", "#e3e6e8", "#ffffff", "#008080", "#d9700a", "#8a949e", LIGHT_FAMILIES
)
PAGE = Theme(
    "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06", "#0a0b07",
    tuple(f"#0a0c{place:02x}" for place in range(len(LIGHT_FAMILIES))),
)  # fmt: skip
"""Placeholders; :func:`page_variables` says what they stand for."""


def page_variables() -> dict[str, str]:
    """Returns what replaces each placeholder of :data:`PAGE`."""
    plain = {
        PAGE.ink: "ink",
        PAGE.muted: "muted",
        PAGE.rule: "rule",
        PAGE.paper: "panel",
        PAGE.open_best: "teal",
        PAGE.proprietary_best: "orange",
        PAGE.band: "band",
    }
    plain |= {colour: f"f{place}" for place, colour in enumerate(PAGE.families)}
    return {colour: f"var(--{name})" for colour, name in plain.items()}


def family_places(families: Iterable[str]) -> dict[str, int]:
    """Returns each family's place among the colours, in the order of a legend."""
    listed = sorted(set(families), key=lambda name: (_rank(name), name.casefold()))
    free = [place for place in range(len(LIGHT_FAMILIES)) if place >= len(_KNOWN)]
    others = [name for name in listed if name not in _KNOWN]
    places = {name: _KNOWN.index(name) for name in listed if name in _KNOWN}
    # With many unknown families colours repeat; names and shapes still tell models apart.
    every = free + [p for p in range(2, len(_KNOWN)) if p not in places.values()] or [*free]
    places |= {name: every[number % len(every)] for number, name in enumerate(others)}
    return {name: places[name] for name in listed}


def _rank(name: str) -> int:
    return _KNOWN.index(name) if name in _KNOWN else len(_KNOWN)


def marker(entry: Entry) -> tuple[str, float]:
    """Returns matplotlib's marker of a model and its size in points."""
    if entry.own:
        return "D", 8.0
    if entry.family == ASTROSAGE:
        return "*", 15.0
    return ("^", 6.5) if entry.access == "open" else ("o", 5.5)


def shape_name(entry: Entry) -> str:
    """Returns the marker in words."""
    if entry.own:
        return "diamond"
    if entry.family == ASTROSAGE:
        return "star"
    return "triangle" if entry.access == "open" else "circle"


def notable(entries: Sequence[Entry], baseline: str, count: int) -> list[Entry]:
    """Returns the models that deserve a name in the figure, the most deserving first.

    Args:
        entries: those that are drawn.
        baseline: name of the model of value 0.
        count: how many at most; own models and AstroSage always.
    """
    first = [e for e in entries if e.own or e.family == ASTROSAGE or e.name == baseline]
    cheapest = [e for e in entries if e.frontier]
    ends = sorted(entries, key=lambda e: min(e.rank_by_score, e.rank_by_value or 999))
    extremes = sorted(entries, key=lambda e: e.score.value)[:2]
    best_of: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: e.rank_by_value or 999):
        best_of.setdefault(entry.family, entry)
    order = dict.fromkeys(
        entry.name for entry in [*first, *cheapest, *extremes, *ends[:8], *best_of.values(), *ends]
    )
    by_name = {entry.name: entry for entry in entries}
    return [by_name[name] for name in list(order)[: max(count, len(first))]]


def short_name(name: str) -> str:
    """Returns a model's name for a figure: AstroSage without the name of its base."""
    return name.replace("AstroSage-Llama-3.1-", "AstroSage-")
