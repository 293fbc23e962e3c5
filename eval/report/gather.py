"""What the report shows, collected from the finished stages of a run.

Everything here streams: a corpus of any size is read in record batches and reduced to counts.
A stage that has not run is simply absent; the report says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.manifest import TIMINGS_NAME, Manifest
from core.rejects import Reason
from core.schema import DOCUMENT_STAGES
from core.shards import read_shard, shard_paths, stream_batches
from core.stage import StageContext

SAMPLE_CHARS = 420
BINS_PER_DECADE = 20
MAX_DECADES = 9
CURVE_POINTS = 400
"""Points drawn per curve at most; longer runs are averaged in equal bins."""

_SCAN_ROWS = 2000


@dataclass(frozen=True)
class StageRow:
    """One finished stage in the account."""

    name: str
    manifest: Manifest
    seconds: float | None


@dataclass(frozen=True)
class Histogram:
    """Counts over logarithmic bins; ``edges`` has one more entry than ``counts``."""

    edges: list[float]
    counts: list[int]
    scored: int
    unscored: int
    threshold: float | None
    above: int


@dataclass(frozen=True)
class Curve:
    """A training run: columns of equal length."""

    stage: str
    steps: list[float]
    loss: list[float]
    learning_rate: list[float]
    last_step: int


@dataclass
class RunData:
    """All that the page is made of."""

    stages: list[StageRow] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    scores: dict[str, Any] | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)
    corpus_stage: str | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    histogram: Histogram | None = None
    cut: list[dict[str, str]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    pairs: list[dict[str, str]] = field(default_factory=list)
    pair_count: int = 0
    pair_models: list[str] = field(default_factory=list)


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
    done = {row.name for row in data.stages}
    if "eval.scores" in done:
        data.scores = _json(ctx.folder("eval.scores") / "scores.json")
        data.samples = _json(ctx.folder("eval.scores") / "samples.json") or []
    data.corpus_stage = next((name for name in DOCUMENT_STAGES if name in done), None)
    if data.corpus_stage:
        data.sources = source_counts(ctx.folder(data.corpus_stage))
    if "corpus.perplexity_score" in done:
        found = _json(ctx.folder("corpus.threshold") / "threshold.json") or {}
        threshold = found.get("threshold")
        data.histogram = perplexity_histogram(ctx.folder("corpus.perplexity_score"), threshold)
    if "corpus.filter" in done:
        data.cut = cut_samples(ctx.folder("corpus.filter"))
    data.curves = [
        curve
        for name in stage_names
        if name in done and name.startswith("train.")
        if (curve := read_curve(name, ctx.folder(name) / "metrics.jsonl")) is not None
    ]
    if "synth.qa" in done:
        _gather_pairs(ctx.folder("synth.qa"), data)
    return data


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _seconds(folder: Path) -> float | None:
    timings = _json(folder / TIMINGS_NAME)
    value = timings.get("wall_seconds") if isinstance(timings, dict) else None
    return float(value) if isinstance(value, int | float) else None


def source_counts(folder: Path) -> list[dict[str, Any]]:
    """Returns documents and characters per source, the largest first, with shares of characters."""
    counts: dict[str, list[int]] = {}
    for batch in stream_batches(folder, ["source", "text"]):
        table = pa.table(
            {
                "source": batch.column("source"),
                "chars": pc.utf8_length(batch.column("text")),
            }
        )
        grouped = table.group_by("source").aggregate([("chars", "sum"), ([], "count_all")])
        for row in grouped.to_pylist():
            entry = counts.setdefault(row["source"], [0, 0])
            entry[0] += row["count_all"]
            entry[1] += row["chars_sum"] or 0
    total = sum(chars for _, chars in counts.values()) or 1
    rows = [
        {"source": name, "documents": documents, "chars": chars, "share": chars / total}
        for name, (documents, chars) in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["chars"], row["source"]))


def perplexity_histogram(folder: Path, threshold: float | None) -> Histogram | None:
    """Returns the distribution of paragraph perplexities, or None where none was scored.

    Args:
        folder: dataset of paragraph scores.
        threshold: perplexity above which a paragraph is cut, if known.
    """
    bins = BINS_PER_DECADE * MAX_DECADES
    counts = np.zeros(bins, dtype=np.int64)
    unscored = above = 0
    for batch in stream_batches(folder, ["perplexity"], batch_rows=65536):
        values = batch.column("perplexity").drop_null().to_numpy(zero_copy_only=False)
        values = values[np.isfinite(values)]
        unscored += batch.num_rows - len(values)
        place = np.floor(np.log10(np.maximum(values, 1.0)) * BINS_PER_DECADE).astype(np.int64)
        counts += np.bincount(np.clip(place, 0, bins - 1), minlength=bins)
        above += int((values > threshold).sum()) if threshold is not None else 0
    filled = np.flatnonzero(counts)
    if not len(filled):
        return None
    first, last = int(filled[0]), int(filled[-1])
    return Histogram(
        edges=[10 ** (i / BINS_PER_DECADE) for i in range(first, last + 2)],
        counts=[int(c) for c in counts[first : last + 1]],
        scored=int(counts.sum()),
        unscored=unscored,
        threshold=threshold,
        above=above,
    )


def clip(text: str, limit: int = SAMPLE_CHARS) -> str:
    """Returns the text's start, at most ``limit`` characters, with an ellipsis where cut."""
    text = text.strip()
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def spread(rows: Sequence[Any], count: int) -> list[Any]:
    """Returns up to ``count`` rows at equal distances, so that the choice is nobody's."""
    if len(rows) <= count:
        return list(rows)
    return [rows[i * len(rows) // count] for i in range(count)]


def cut_samples(folder: Path, count: int = 4) -> list[dict[str, str]]:
    """Returns a few paragraphs that the perplexity filter cut: doc_id, detail, text."""
    found: list[dict[str, str]] = []
    for path in shard_paths(folder / "rejects"):
        for row in read_shard(path, ["doc_id", "reason", "detail", "text"]).to_pylist():
            if row["reason"] == Reason.HIGH_PERPLEXITY and row["text"]:
                text = clip(row["text"])
                found.append({"doc_id": row["doc_id"], "detail": row["detail"] or "", "text": text})
        if len(found) >= _SCAN_ROWS:
            break
    return spread(found, count)


def read_curve(stage: str, path: Path) -> Curve | None:
    """Returns a training run's curves from ``metrics.jsonl``, or None where there is nothing.

    Lines that are cut short (a run was killed) are passed over.
    """
    rows: list[tuple[float, float, float]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        try:
            row = json.loads(line)
            rows.append((float(row["step"]), float(row["loss"]), float(row["learning_rate"])))
        except (ValueError, KeyError, TypeError):
            continue
    rows = [row for row in rows if all(math.isfinite(value) for value in row)]
    if not rows:
        return None
    pieces = np.array_split(np.array(rows), min(CURVE_POINTS, len(rows)))
    means = np.array([piece.mean(axis=0) for piece in pieces])
    steps, loss, rate = (means[:, i].tolist() for i in range(3))
    return Curve(stage, steps, loss, rate, last_step=int(rows[-1][0]))


def _gather_pairs(folder: Path, data: RunData, count: int = 4) -> None:
    scanned: list[dict[str, str]] = []
    models: set[str] = set()
    for batch in stream_batches(folder, ["doc_id", "question", "answer", "model"]):
        data.pair_count += batch.num_rows
        models.update(m for m in pc.unique(batch.column("model")).to_pylist() if m)
        if len(scanned) < _SCAN_ROWS:
            scanned += batch.to_pylist()
    data.pair_models = sorted(models)
    data.pairs = [
        {key: clip(value or "") for key, value in row.items()} for row in spread(scanned, count)
    ]
