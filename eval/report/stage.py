"""The report: one HTML page without outside resources, from whatever stages have finished.

It is for people who did not run the recipe: what the models score and how sure that is, how
training went, what the text is made of, what was thrown away and why. All text from data is
escaped by jinja2; no script is on the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.atomic import write_text
from core.stage import JobResult, JobStage, StageContext
from eval.items import letter
from eval.report.gather import RunData, gather
from eval.report.plots import accuracy_plot, curve_plot, histogram_plot
from eval.scores.verdicts import interval_text, percent

PAGE = "index.html"
_TEMPLATES = Path(__file__).parent / "templates"
_DASH = "–"
_MAX_TOPICS = 40
_MAX_METRIC_CHARS = 120


def number(value: float | None, digits: int = 0) -> str:
    """Returns a number with thousands separators; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return _DASH
    return f"{value:,.{digits}f}"


def compact(value: float) -> str:
    """Returns a large number in three digits: 1234567 is ``1.23 M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Returns seconds for a person: ``4.2 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return _DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def metric(value: Any) -> str:
    """Returns a stage's metric as short text."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= _MAX_METRIC_CHARS else text[:_MAX_METRIC_CHARS] + " …"


_FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "compact": compact,
    "duration": duration,
    "metric": metric,
    "percent": percent,
    "interval": interval_text,
    "letter": letter,
    "slug": lambda text: re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"),
    "words": lambda text: text.replace("_", " "),
}


def tiles(data: RunData) -> list[dict[str, str]]:
    """Returns the few numbers at the top: value, label and a note each."""
    found: list[dict[str, str]] = []
    models = data.scores["models"] if data.scores else []
    if models:
        last = models[-1]
        domain = last["groups"].get("domain", {})
        if domain.get("accuracy") is not None:
            found.append(
                {
                    "value": percent(domain["accuracy"]),
                    "label": f"in-domain accuracy of {last['name']}",
                    "note": f"95% interval {100 * domain['low']:.1f} to {100 * domain['high']:.1f}"
                    f"; chance {percent(domain['chance'])}",
                }
            )
        found += _fall_tile(models)
    documents = sum(row["documents"] for row in data.sources)
    if documents:
        chars = sum(row["chars"] for row in data.sources)
        note = f"{compact(chars)} characters from {len(data.sources)} sources"
        found.append({"value": number(documents), "label": "documents", "note": note})
    if data.pair_count:
        note = f"written by: {', '.join(data.pair_models)}"
        found.append(
            {"value": number(data.pair_count), "label": "question–answer pairs", "note": note}
        )
    return found


def _fall_tile(models: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    start = models[0]
    model = next((m for m in models[1:] if m["name"] == "cpt"), models[-1])
    for before, after in zip(start["heldout"], model["heldout"], strict=True):
        comparable = before["tokens"] == after["tokens"] and before["perplexity"]
        if before["group"] == "domain" and comparable and after["perplexity"]:
            change = after["perplexity"] / before["perplexity"] - 1
            # A true minus sign lines up with the digits.
            value = f"{100 * change:+.0f}%".replace("-", "−")
            note = f"{number(before['perplexity'], 1)} ({start['name']}) to "
            note += number(after["perplexity"], 1)
            label = f"held-out perplexity of {model['name']}"
            return [{"value": value, "label": label, "note": note}]
    return []


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
    environment.filters.update(_FILTERS)
    # Plots come from eval.plots, which escapes what it is given; nothing else is marked safe.
    accuracy = Markup(accuracy_plot(data.scores)) if data.scores else Markup("")
    histogram = Markup(histogram_plot(data.histogram)) if data.histogram else Markup("")
    curves = [(curve, Markup(curve_plot(curve))) for curve in data.curves]
    return environment.get_template("report.html.j2").render(
        title=title,
        data=data,
        tiles=tiles(data),
        accuracy_plot=accuracy,
        histogram_plot=histogram,
        curves=curves,
        topics=_topics(data),
        total_seconds=sum(row.seconds or 0.0 for row in data.stages),
    )


def _topics(data: RunData) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Returns (group, topic, one accuracy per model in the models' order)."""
    if data.scores is None:
        return []
    models = data.scores["models"]
    table: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for model in models:
        for entry in model["topics"]:
            table.setdefault((entry["group"], entry["topic"]), {})[model["name"]] = entry
    rows = [
        (group, topic, [by_model.get(model["name"], {}) for model in models])
        for (group, topic), by_model in sorted(table.items())
        if any(entry["total"] for entry in by_model.values())
    ]
    return rows[:_MAX_TOPICS]


class ReportStage(JobStage):
    """Writes ``index.html``."""

    name = "eval.report"
    description: ClassVar[str] = "One HTML page about the run"
    remote: ClassVar[bool] = True
    volatile: ClassVar[Sequence[str]] = (PAGE,)
    row_unit = "stage"

    def __init__(
        self, title: str, stage_names: Sequence[str], inputs: Sequence[str] | None = None
    ) -> None:
        """Takes what to report on.

        Args:
            title: heading of the page.
            stage_names: stages of the run in running order; unfinished ones are named as such.
            inputs: stages that must have finished; default: all of ``stage_names``.
        """
        self._title = title
        self._stage_names = tuple(stage_names)
        self.inputs = self._stage_names if inputs is None else tuple(inputs)

    def config(self) -> dict[str, Any]:
        """Returns title and stages."""
        return {"title": self._title, "stages": list(self._stage_names)}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the page."""
        data = gather(ctx, self._stage_names)
        write_text(out / PAGE, render(self._title, data))
        finished = len(data.stages)
        return JobResult(rows_in=finished, rows_out=finished)
