"""What a mixture is made of: ``report.json`` and the plot, as Figure 1 of AstroMLab 4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic import atomic_file
from core.recipe.mixture import Mixture
from synth.mixture.choice import Choice, Fate, Rows

REPORT_NAME, PLOT_NAME = "report.json", "mixture.png"

_LEFT = ("contaminated", "exact_duplicates", "near_duplicates", "not_sampled")
_SHOWN = 30
_LABEL_CHARS = 40
_GREY = "#808080"
"""Stands out against white and black alike, as the bars do."""
_BAR = "#4a90c2"


def mixture_report(rows: Rows, choice: Choice, section: Mixture) -> dict[str, Any]:
    """Returns the report: of each set what came in, what was left out and why, and what is taken.

    ``rows``, ``bytes`` (UTF-8, system and user prompts included) and ``tokens`` count a row as
    often as it comes; ``different_rows`` once. In = different + contaminated + duplicates + not
    sampled. Sets are in the order of the recipe's entries, then by name.
    """
    fates = np.zeros((len(rows.sets), len(Fate)), dtype=np.int64)
    np.add.at(fates, (rows.in_set, choice.fate), 1)
    sums = {
        "rows": _sums(rows, choice.times),
        "bytes": _sums(rows, choice.times * rows.bytes),
        "tokens": _sums(rows, choice.times * rows.tokens),
    }
    totals = {name: int(values.sum()) for name, values in sums.items()}
    last = len(section.entries)
    order = sorted(
        range(len(rows.sets)),
        key=lambda at: (choice.entry_of_set[at] % (last + 1), rows.sets[at]),
    )
    sets = []
    for at in order:
        number = choice.entry_of_set[at]
        entry = section.entries[number] if number >= 0 else None
        sets.append(
            {
                "name": rows.sets[at],
                "entry": entry.model_dump(mode="json", exclude_none=True) if entry else None,
                "rows_in": int(fates[at].sum()),
                **{name: int(fates[at, n]) for n, name in enumerate(_LEFT, start=1)},
                "different_rows": int(fates[at, Fate.TAKEN]),
                **{name: int(values[at]) for name, values in sums.items()},
                "byte_share": _share(sums["bytes"][at], totals["bytes"]),
                "token_share": _share(sums["tokens"][at], totals["tokens"]),
            }
        )
    names = ("rows_in", *_LEFT, "different_rows", *sums)
    return {"sets": sets, "total": {name: sum(each[name] for each in sets) for name in names}}


def _sums(rows: Rows, values: Any) -> Any:
    sums = np.zeros(len(rows.sets), dtype=np.int64)
    # Not bincount with weights: that adds floats.
    np.add.at(sums, rows.in_set, values)
    return sums


def _share(part: Any, whole: int) -> float:
    return round(int(part) / whole, 6) if whole else 0.0


def draw_mixture(report: dict[str, Any], path: Path) -> None:
    """Draws bytes by set, the largest first, as a PNG on no background."""
    # Here, since the command line must not wait a second for what few commands draw. A figure of
    # its own, not pyplot's: no window system is asked for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    total = report["total"]
    bars = _bars(report["sets"])
    scale, unit = _unit(max(size for _, size in bars))
    figure = Figure(figsize=(9, 1.3 + 0.36 * len(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(bars))
    drawn = axes.barh(places, [size / scale for _, size in bars], color=_BAR, height=0.7)
    labels = [f"{size / scale:,.1f} {unit} ({size / total['bytes']:.1%})" for _, size in bars]
    axes.bar_label(drawn, labels, padding=4, fontsize="small", color=_GREY)
    axes.set_yticks(places, [_label(name) for name, _ in bars], fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel(f"UTF-8 text, system and user prompts included ({unit})", color=_GREY)
    axes.set_title(
        f"{total['rows']:,} conversations, {total['tokens']:,} tokens",
        fontsize="medium",
        loc="left",
        color=_GREY,
    )
    axes.tick_params(colors=_GREY, labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    with atomic_file(path) as temporary:
        # The name and version of the program that drew it is left out.
        figure.savefig(
            temporary, format="png", dpi=100, transparent=True, metadata={"Software": None}
        )


def _bars(sets: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    taken = [(each["name"], each["bytes"]) for each in sets if each["bytes"]]
    taken.sort(key=lambda bar: (-bar[1], bar[0]))
    shown, rest = taken[:_SHOWN], taken[_SHOWN:]
    return [*shown, (f"{len(rest)} more", sum(size for _, size in rest))] if rest else shown


def _unit(largest: int) -> tuple[float, str]:
    return next(
        ((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if largest >= s), (1, "B")
    )


def _label(name: str) -> str:
    short = name if len(name) <= _LABEL_CHARS else name[: _LABEL_CHARS - 1] + "…"
    # Two dollar signs would make it a formula.
    return short.replace("$", r"\$")
