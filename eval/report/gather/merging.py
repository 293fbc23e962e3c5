"""Merging as the report shows it: the method, the weights, what went in, the sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.manifest import Manifest
from core.stage import StageContext
from eval.report.figures import Figure, stage_figures
from eval.report.gather.files import finite

_SETTINGS = ("method", "base", "out_dtype", "t", "rescale", "voice")
_NORM = "relative_norm_"
_FACTS = {
    "disagreeing_share": "share of parameters on which the models pull in opposite directions",
    "parameters": "parameters",
    "tensors": "tensors",
}


@dataclass
class MergeData:
    """A merged model.

    Args:
        stage: that merged.
        settings: method, base and the like, by name.
        models: of each model its name, weight, density and, where it was measured, the norm of
            its task vector as a share of the base's norm.
        facts: other numbers that were measured.
        figures: of the sweep over weights.
    """

    stage: str
    settings: dict[str, Any]
    models: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


def gather_merge(ctx: StageContext, done: dict[str, Manifest]) -> MergeData | None:
    """Returns the merge, or None where the run has none.

    Args:
        ctx: the run.
        done: manifests of the finished stages.
    """
    figures = [
        figure
        for name in done
        if name.startswith("merge.sweep")
        for figure in stage_figures(ctx, name)
    ]
    stage = next((n for n in done if n.startswith("merge.") and "sweep" not in n), None)
    if stage is None:
        return MergeData("merge.sweep", {}, [], figures=figures) if figures else None
    config, metrics = done[stage].config, done[stage].metrics
    settings = {key: config[key] for key in _SETTINGS if config.get(key) is not None}
    models = [dict(model) for model in config.get("models", []) if isinstance(model, dict)]
    for model in models:
        norm = finite(metrics.get(f"{_NORM}{model.get('model')}"))
        if norm is not None:
            model["relative_norm"] = norm
    facts = {said: metrics[key] for key, said in _FACTS.items() if finite(metrics.get(key))}
    return MergeData(stage, settings, models, facts, figures)
