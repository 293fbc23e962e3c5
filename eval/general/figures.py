"""AstroMLab 3, Figure 4: bars over the benchmarks, and two radars of what training changed.

Colours go by a model's place in the recipe, as in the report. The SVG follows the reader's light or
dark scheme: it is drawn in the light colours, which any program shows, and carries rules that
browsers apply where the dark scheme is asked for.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.atomic import atomic_file, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SERIES = (
    ("#0072b2", "#56b4e9"),
    ("#b87300", "#f0b23c"),
    ("#00835d", "#35c496"),
    ("#b05a8c", "#dd96be"),
    ("#6a51a3", "#b3a2e8"),
    ("#6b6f00", "#d3d24a"),
    ("#a63d2f", "#f08a78"),
    ("#4a5a6a", "#b4c0cc"),
)
"""Light and dark colour of a model: the report's."""
_INK, _MUTED, _RULE = ("#1c2126", "#e6e9ec"), ("#56606a", "#a3adb7"), ("#e3e6e8", "#2d353d")
_ALARM = ("#b3400a", "#ff9a66")
_WIDTH = 700
_NO_DATA = "nothing to draw"
_STYLE: Any = {
    "svg.hashsalt": "astromill",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12,
    "text.color": _INK[0],
    "axes.labelcolor": _MUTED[0],
    "axes.edgecolor": _MUTED[0],
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12.5,
    "axes.titlecolor": _INK[0],
    "grid.color": _RULE[0],
    "xtick.color": _MUTED[0],
    "ytick.color": _MUTED[0],
}


def draw_figures(table: dict[str, Any], out: Path) -> list[str]:
    """Draws what there is to see into a folder, each figure as SVG and PNG.

    Args:
        table: from :func:`eval.general.table.general_table`.
        out: the folder.

    Returns:
        Names of the files: ``general-benchmarks`` always, ``effect-of-training`` where at least
        three benchmarks span a radar.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names: list[str] = []
    panels = _radars(table)
    drawings = [("general-benchmarks", 330, _draw_bars)]
    if panels and len(table["benchmarks"]) >= 3:
        drawings.append(("effect-of-training", 430, _draw_radars))
    for name, height, draw in drawings:
        with rc_context(_STYLE):
            figure = Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")
            alt = draw(figure, table)
            write_text(out / f"{name}.svg", _svg(figure, alt))
            with atomic_file(out / f"{name}.png") as path:
                figure.savefig(
                    path, format="png", dpi=144, facecolor="white", metadata={"Software": None}
                )
        names += [f"{name}.svg", f"{name}.png"]
    return names


def _svg(figure: Figure, alt: str) -> str:
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    rules = "".join(
        f'[style*="{key}: {light}"]{{{key}:{dark} !important}}'
        for light, dark in (*_SERIES, _INK, _MUTED, _RULE, _ALARM)
        for key in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    head = f"<title>{escape(alt)}</title>\n{style}"
    return re.sub(r"(<svg\b[^>]*>)", lambda m: f"{m[1]}\n{head}", svg, count=1)


def _color(table: dict[str, Any], model: str) -> str:
    return _SERIES[table["models"].index(model) % len(_SERIES)][0]


def _value(table: dict[str, Any], model: str, key: str) -> float | None:
    found = table["scores"][model].get(key)
    if found is None:
        return None
    name = "normalized" if table["figure"]["scores"] == "normalized" else "score"
    value = found[name]
    return None if value is None else float(value)


def _unit(table: dict[str, Any]) -> str:
    unit = "normalised score" if table["figure"]["scores"] == "normalized" else "score"
    few = f"; first {table['limit']} questions of each task" if table["limit"] else ""
    return f"{unit} (%){few}"


# --- Bars


def _draw_bars(figure: Figure, table: dict[str, Any]) -> str:
    axes = figure.subplots()
    keys = [b["key"] for b in table["benchmarks"]]
    models = [m for m in table["models"] if any(_value(table, m, k) is not None for k in keys)]
    if not models:
        axes.annotate(_NO_DATA, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
        return _NO_DATA
    width = 0.84 / len(models)
    for number, model in enumerate(models):
        _bars_of(axes, table, model, keys, (number + 0.5) * width - 0.42, width)
    for place, benchmark in enumerate(table["benchmarks"]):
        if benchmark["chance"] and table["figure"]["scores"] == "raw":
            ends = (place - 0.46, place + 0.46)
            chance = [benchmark["chance"]] * 2
            label = None if axes.get_lines() else "guessing"
            axes.plot(ends, chance, color=_ALARM[0], linestyle=(0, (3, 2)), lw=1.4, label=label)
    axes.set_xticks(range(len(keys)), [b["label"] for b in table["benchmarks"]], color=_INK[0])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_ylim(0, _top([_value(table, m, k) for m in models for k in keys]))
    axes.set_ylabel(_unit(table))
    handles, labels = axes.get_legend_handles_labels()
    # Lines come before bars in matplotlib's own order.
    order = sorted(range(len(labels)), key=lambda n: labels[n] == "guessing")
    figure.legend(
        [handles[n] for n in order], [labels[n] for n in order],
        loc="outside upper left", ncols=_columns(labels, 100), frameon=False,
        handlelength=1.0, columnspacing=1.4, borderaxespad=0.2,
    )  # fmt: skip
    return "Scores on general benchmarks. " + " ".join(_said(table, m, keys) for m in models)


def _bars_of(
    axes: Axes, table: dict[str, Any], model: str, keys: Sequence[str], shift: float, width: float
) -> None:
    color, label = _color(table, model), model
    for place, key in enumerate(keys):
        value = _value(table, model, key)
        if value is None:
            continue
        axes.bar(place + shift, value, width * 0.92, color=color, linewidth=0, label=label)
        label = "_nolegend_"
        error = table["scores"][model][key]["stderr"]
        if error is not None and table["figure"]["scores"] == "raw":
            # Within the scale: a handful of questions gives errors beyond it.
            ends = [max(0.0, value - 1.96 * error), min(100.0, value + 1.96 * error)]
            axes.vlines(place + shift, *ends, color=_INK[0], linewidth=1)


def _columns(labels: Sequence[str], chars: int) -> int:
    """Returns how many legend entries stand side by side in the width of so many letters."""
    return max(1, min(len(labels), chars // (6 + max(map(len, labels)))))


def _said(table: dict[str, Any], model: str, keys: Sequence[str]) -> str:
    labels = {b["key"]: b["label"] for b in table["benchmarks"]}
    parts = [
        f"{labels[key]} {value:.1f}%"
        for key in keys
        if (value := _value(table, model, key)) is not None
    ]
    return f"{model}: {', '.join(parts)}."


def _top(values: Sequence[float | None]) -> float:
    most = max((v for v in values if v is not None), default=0.0)
    return min(100.0, 10.0 * math.ceil(max(most, 5.0) / 10.0 + 0.5))


# --- Radars


def _radars(table: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Returns (title, models) of the radars that show at least one model with all scores."""
    keys = [b["key"] for b in table["benchmarks"]]
    panels = [
        ("Effect of continued pretraining", table["figure"]["cpt"]),
        ("After fine-tuning", table["figure"]["sft"]),
    ]
    whole = [
        (title, [m for m in models if all(_value(table, m, k) is not None for k in keys)])
        for title, models in panels
    ]
    return [(title, models) for title, models in whole if models]


def _draw_radars(figure: Figure, table: dict[str, Any]) -> str:
    panels = _radars(table)
    keys = [b["key"] for b in table["benchmarks"]]
    labels = [b["label"] for b in table["benchmarks"]]
    angles = [2 * math.pi * n / len(keys) for n in range(len(keys))]
    top = _top([_value(table, m, k) for _, models in panels for m in models for k in keys])
    figure.set_layout_engine("none")
    share = 1 / len(panels)
    for number, (title, models) in enumerate(panels):
        # Room for the names of the spokes on all sides, and for a legend below.
        box = (number * share + 0.15 * share, 0.3, 0.7 * share, 0.53)
        axes: Any = figure.add_axes(box, projection="polar")
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        for model in models:
            values = [_value(table, model, key) or 0.0 for key in keys]
            color = _color(table, model)
            closed = [*angles, angles[0]]
            axes.plot(closed, [*values, values[0]], color=color, linewidth=1.8, label=model)
        axes.set_ylim(0, top)
        axes.set_xticks(angles, labels, color=_INK[0])
        for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
            side = math.sin(angle)
            label.set_horizontalalignment(
                "center" if abs(side) < 0.1 else "left" if side > 0 else "right"
            )
        axes.tick_params(axis="x", pad=3)
        axes.set_yticks([top / 2, top], [f"{top / 2:g}%", f"{top:g}%"], fontsize=9)
        axes.spines["polar"].set_color(_RULE[0])
        axes.set_title(title, pad=20)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=_columns(models, 60),
            frameon=False, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    said = [f"{title}: {' '.join(_said(table, m, keys) for m in ms)}" for title, ms in panels]
    return f"Radars of {_unit(table)}. " + " ".join(said)
