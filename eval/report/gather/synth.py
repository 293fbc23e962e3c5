"""Synthetic data as the report shows it: pairs, the judge's scores, summaries, the mixture."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from core.manifest import Manifest
from core.rejects import Reason
from core.shards import shard_paths, stream_batches
from core.stage import StageContext
from eval.report.gather.files import SCAN_ROWS, clip, finite, json_object, spread

SAMPLES = 3


@dataclass(frozen=True)
class Judge:
    """One judge's scores.

    Args:
        name: stage that judged.
        pairs, kept: how many were judged, and how many stay.
        scale: the best score.
        criteria: name to counts of the scores 1 to ``scale``, and their mean.
    """

    name: str
    pairs: int
    kept: int
    scale: int
    criteria: list[tuple[str, list[int], float | None]]


@dataclass
class SynthData:
    """What the section on questions and answers is made of."""

    pair_count: int = 0
    pair_models: list[str] = field(default_factory=list)
    kept: int | None = None
    pairs: list[dict[str, str]] = field(default_factory=list)
    turned_down: list[dict[str, str]] = field(default_factory=list)
    judges: list[Judge] = field(default_factory=list)
    summary_count: int = 0
    summaries: list[dict[str, str]] = field(default_factory=list)
    mixture: list[dict[str, Any]] = field(default_factory=list)
    mixture_total: dict[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.pairs or self.judges or self.summaries or self.mixture)


def gather_synth(ctx: StageContext, done: dict[str, Manifest]) -> SynthData:
    """Returns what the finished stages of synthetic data tell.

    Args:
        ctx: the run.
        done: manifests of the finished stages.
    """
    data = SynthData()
    if "synth.qa" in done:
        _written(ctx.folder("synth.qa"), data)
    if "synth.pairs" in done:
        data.kept = done["synth.pairs"].rows_out
        columns = ["doc_id", "question", "answer", "model"]
        data.pairs = _sampled(ctx.folder("synth.pairs"), columns) or data.pairs
        data.turned_down = _turned_down(ctx.folder("synth.pairs"))
    if "synth.judge_report" in done:
        data.judges = _judges(json_object(ctx.folder("synth.judge_report") / "scores.json"))
    if "synth.summaries" in done:
        data.summary_count = done["synth.summaries"].rows_out
        columns = ["doc_id", "title", "summary", "model"]
        data.summaries = _sampled(ctx.folder("synth.summaries"), columns)
    if "synth.mixture_plan" in done:
        report = json_object(ctx.folder("synth.mixture_plan") / "report.json")
        data.mixture = [row for row in report.get("sets", []) if row.get("rows")]
        data.mixture_total = report.get("total", {})
    return data


def _written(folder: Path, data: SynthData) -> None:
    scanned: list[dict[str, str]] = []
    models: set[str] = set()
    for batch in stream_batches(folder, ["doc_id", "question", "answer", "model"]):
        data.pair_count += batch.num_rows
        models.update(m for m in pc.unique(batch.column("model")).to_pylist() if m)
        if len(scanned) < SCAN_ROWS:
            scanned += batch.to_pylist()
    data.pair_models = sorted(models)
    data.pairs = [_clipped(row) for row in spread(scanned, SAMPLES)]


def _sampled(folder: Path, columns: list[str]) -> list[dict[str, str]]:
    scanned: list[dict[str, Any]] = []
    for batch in stream_batches(folder, columns):
        scanned += batch.to_pylist()
        if len(scanned) >= SCAN_ROWS:
            break
    return [_clipped(row) for row in spread(scanned, SAMPLES)]


def _turned_down(folder: Path) -> list[dict[str, str]]:
    found: list[dict[str, Any]] = []
    if not shard_paths(folder / "rejects"):
        return []
    for batch in stream_batches(folder / "rejects", ["doc_id", "reason", "detail", "text"]):
        found += [row for row in batch.to_pylist() if row["reason"] == Reason.LOW_SCORE]
        if len(found) >= SCAN_ROWS:
            break
    return [_clipped(row | _pair(row["text"] or "")) for row in spread(found, SAMPLES)]


def _pair(text: str) -> dict[str, str]:
    """Returns question and answer of a rejected pair's text; text of another form is the answer."""
    try:
        value = json.loads(text)
        return {"question": str(value["question"]), "answer": str(value["answer"])}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {"question": "", "answer": text}


def _clipped(row: dict[str, Any]) -> dict[str, str]:
    return {key: clip(str(value or "")) for key, value in row.items()}


def _judges(report: dict[str, Any]) -> list[Judge]:
    found = []
    for name, entry in report.get("judges", {}).items():
        criteria = [
            (criterion, [int(count) for count in scores["counts"]], finite(scores.get("mean")))
            for criterion, scores in entry.get("criteria", {}).items()
        ]
        found.append(Judge(name, entry["pairs"], entry["kept"], entry["scale"], criteria))
    return found
