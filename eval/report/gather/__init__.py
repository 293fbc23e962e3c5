"""What the report shows, collected from the finished stages of a run.

Everything here streams: a corpus of any size is read in record batches and reduced to counts.
A stage that has not run is simply absent; the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.manifest import TIMINGS_NAME, Manifest
from core.schema import DOCUMENT_STAGES
from core.stage import StageContext
from eval.report.figures import Figure, stage_figures
from eval.report.gather.corpus import CorpusData, gather_corpus
from eval.report.gather.files import finite, json_object, read_json
from eval.report.gather.merging import MergeData, gather_merge
from eval.report.gather.rejects import Rejected, gather_rejects
from eval.report.gather.synth import SynthData, gather_synth
from eval.report.gather.training import Curve, read_curve

FIGURE_STAGES = ("eval.value", "eval.general")
"""Stages whose figures the page shows as they are; each has a section of its own."""


@dataclass(frozen=True)
class StageRow:
    """One finished stage in the account."""

    name: str
    manifest: Manifest
    seconds: float | None


@dataclass
class RunData:
    """All that the page is made of."""

    stages: list[StageRow] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    model_of: dict[str, str] = field(default_factory=dict)
    """Stage to the name that its model has in the tables."""
    corpus: CorpusData = field(default_factory=CorpusData)
    synth: SynthData = field(default_factory=SynthData)
    curves: list[Curve] = field(default_factory=list)
    merge: MergeData | None = None
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    """By the first two words of the stage's name: ``eval.value``."""
    general: dict[str, Any] = field(default_factory=dict)
    """``general.json`` of the general benchmarks."""
    value: dict[str, Any] = field(default_factory=dict)
    """``value.json`` of the value scores."""
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def models(self) -> list[dict[str, Any]]:
        """The models that were scored, as ``scores.json`` lists them."""
        return list(self.scores.get("models", []))


def gather(ctx: StageContext, stage_names: Sequence[str]) -> RunData:
    """Collects what the report shows.

    Args:
        ctx: the run.
        stage_names: its stages in running order, finished or not.
    """
    data = RunData()
    for name in stage_names:
        manifest = Manifest.load(ctx.folder(name))
        if manifest is None:
            data.missing.append(name)
        else:
            data.stages.append(StageRow(name, manifest, _seconds(ctx.folder(name))))
    done = {row.name: row.manifest for row in data.stages}
    if "eval.scores" in done:
        data.scores = json_object(ctx.folder("eval.scores") / "scores.json")
        samples = read_json(ctx.folder("eval.scores") / "samples.json")
        data.samples = samples if isinstance(samples, list) else []
    if "eval.mcq" in done:
        pairs = done["eval.mcq"].config.get("models", [])
        data.model_of = {stage: name for name, stage in map(tuple, pairs)}
    data.corpus = gather_corpus(ctx, done, DOCUMENT_STAGES)
    data.synth = gather_synth(ctx, done)
    data.curves = [
        curve
        for name in done
        if name.startswith("train.") and (curve := read_curve(name, ctx.folder(name))) is not None
    ]
    data.merge = gather_merge(ctx, done)
    for stage in FIGURE_STAGES:
        found = [f for name in done if name.startswith(stage) for f in stage_figures(ctx, name)]
        if found:
            data.figures[stage] = found
    for name in done:
        if name.startswith("eval.general"):
            data.general = json_object(ctx.folder(name) / "general.json") or data.general
        if name.startswith("eval.value"):
            data.value = json_object(ctx.folder(name) / "value.json") or data.value
    data.rejected = gather_rejects(ctx, done)
    return data


def _seconds(folder: Path) -> float | None:
    return finite(json_object(folder / TIMINGS_NAME).get("wall_seconds"))
