"""What the stages of a sample would take on the whole: rows, seconds, bytes, counts.

Three ways, by how a stage hangs on the sample:

* ``sample``: its shards are those of the drawn units, so every shard counts with its unit's weight;
* ``scaled``: it mixes shards (dedup, a mixture), so its numbers grow as the rows that it reads;
* ``whole``: it read everything (the catalog, a tokenizer, an earlier run): its numbers as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from core.graph import AnyStage, Pipeline
from core.hashing import sha256_text
from core.intervals import wilson
from core.manifest import TIMINGS_NAME, Manifest
from core.plan.frames import REPLICATES, Floats, Interval, total
from core.plan.sampled import SampledStage, frame_path, load_frame
from core.runner.commit import RECEIPTS, Receipt
from core.stage import ShardStage, StageContext

_OWN = ("rows_in", "rows_out", "rows_rejected", "seconds", "bytes")

_FIXED = ("train.base", "corpus.contamination_report")
"""Jobs whose rows are not the corpus's: a model, the benchmarks' questions."""


@dataclass(frozen=True)
class StageEstimate:
    """A stage on the whole input.

    Args:
        stage: its name.
        how: ``sample``, ``scaled`` or ``whole``.
        row_unit: what its rows are.
        rows_in: rows it reads.
        rows_out: rows it keeps.
        rows_rejected: rows it rejects.
        seconds: of all its workers together; of a job, from start to end.
        bytes: of its output on disk; of a sample without the files' footers.
        metrics: its counts; those of language models among them.
        measured_units: shards that the numbers come from; 0 of a job.
        factor: rows that it reads over those that it read in the sample.
        footer_bytes: of a Parquet file of its output: as large in a shard of one row as in one of
            thousands. 0 where ``bytes`` has it.
    """

    stage: str
    how: str
    row_unit: str
    rows_in: Interval
    rows_out: Interval
    rows_rejected: Interval
    seconds: Interval
    bytes: Interval
    metrics: dict[str, Interval] = field(default_factory=dict)
    measured_units: int = 0
    factor: float = 1.0
    footer_bytes: float = 0.0


@dataclass(frozen=True)
class _Known:
    """A stage's replicates, for the stages that read it."""

    rows_out: Floats
    measured_rows_out: float
    root: str | None


def estimate_stages(pipeline: Pipeline, names: Collection[str]) -> list[StageEstimate]:
    """Returns an estimate of every stage that the run's folder holds finished, in order.

    Args:
        pipeline: stages over the folder; those of a sample have :class:`SampledStage` in them.
        names: stages to take; others may be left from an earlier plan.
    """
    known: dict[str, _Known] = {}
    weights: dict[str, Floats] = {}
    estimates: dict[str, StageEstimate] = {}
    for name, stage in pipeline.stages.items():
        manifest = Manifest.load(pipeline.ctx.folder(name))
        if manifest is None or name not in names:
            continue
        receipts = _receipts(stage, pipeline.ctx, manifest)
        if isinstance(stage, SampledStage):
            frame = load_frame(frame_path(pipeline.ctx, name))
            weights[name] = frame.weights(int(sha256_text(f"{pipeline.ctx.seed} {name}")[:8], 16))
        footer = 0.0
        root = _root(stage, known, weights, len(receipts))
        if root is not None:
            footer = _footer_bytes(pipeline.ctx.folder(name), manifest)
            found = _weighted(receipts, weights[root], footer)
            how = "sample"
        else:
            grown = _growth(stage, known)
            found = {key: value * grown for key, value in _sums(stage, pipeline, manifest).items()}
            how = "scaled" if bool(np.any(grown != 1.0)) else "whole"
        known[name] = _Known(found["rows_out"], manifest.rows_out, root)
        estimate = _estimate(stage, manifest, found, how, len(receipts), estimates)
        estimates[name] = replace(estimate, footer_bytes=footer)
    return list(estimates.values())


def _receipts(stage: AnyStage, ctx: StageContext, manifest: Manifest) -> list[Receipt]:
    if not isinstance(stage, ShardStage):
        return []
    paths = sorted((ctx.folder(stage.name) / RECEIPTS).glob("*.json"))
    found = [receipt for path in paths if (receipt := Receipt.load(path)) is not None]
    return found if len(found) == len(manifest.shards) else []


def _root(
    stage: AnyStage, known: dict[str, _Known], weights: dict[str, Floats], shards: int
) -> str | None:
    """Returns the sampled stage whose units the stage's shards are, if they are."""
    if stage.name in weights:
        return stage.name
    if not isinstance(stage, ShardStage) or not stage.aligned:
        return None
    roots = {known[name].root if name in known else None for name in stage.aligned}
    root = next(iter(roots))
    if len(roots) != 1 or root is None or shards != weights[root].shape[1]:
        return None
    return root


def _footer_bytes(folder: Path, manifest: Manifest) -> float:
    """Returns the mean size of the footers of a stage's shards."""
    sizes = [pq.read_metadata(folder / file.name).serialized_size for file in manifest.shards]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _weighted(
    receipts: Sequence[Receipt], weights: Floats, footer_bytes: float
) -> dict[str, Floats]:
    values: dict[str, list[float]] = {
        "rows_in": [r.rows_in for r in receipts],
        "rows_out": [r.rows_out for r in receipts],
        "rows_rejected": [r.rows_rejected for r in receipts],
        "seconds": [r.seconds for r in receipts],
        "bytes": [max(0.0, sum(f.bytes for f in r.files) - footer_bytes) for r in receipts],
    }
    for name in sorted({name for r in receipts for name in r.metrics}):
        values[f"/{name}"] = [r.metrics.get(name, 0) for r in receipts]
    return {name: total(weights, each) for name, each in values.items()}


def _growth(stage: AnyStage, known: dict[str, _Known]) -> Floats:
    """Returns how much more a stage reads on the whole than it read in the sample."""
    # Weights and tokenizers are inputs that do not grow with the corpus.
    read = [known[n] for n in stage.inputs if n in known and not n.startswith("train.")]
    measured = sum(each.measured_rows_out for each in read)
    if not measured or stage.name in _FIXED:
        return np.ones(1 + REPLICATES)
    return np.asarray(sum(each.rows_out for each in read) / measured)


def _sums(stage: AnyStage, pipeline: Pipeline, manifest: Manifest) -> dict[str, float]:
    folder = pipeline.ctx.folder(stage.name)
    try:
        timings: dict[str, Any] = json.loads((folder / TIMINGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        timings = {}
    key = "worker_seconds" if isinstance(stage, ShardStage) else "wall_seconds"
    counts = {
        f"/{name}": float(value)
        for name, value in manifest.metrics.items()
        if isinstance(value, int | float) and isinstance(stage, ShardStage)
    }
    return {
        "rows_in": manifest.rows_in,
        "rows_out": manifest.rows_out,
        "rows_rejected": manifest.rows_rejected,
        "seconds": float(timings.get(key, 0.0)),
        "bytes": sum(file.bytes for file in manifest.files),
        **counts,
    }


def _estimate(
    stage: AnyStage,
    manifest: Manifest,
    found: dict[str, Floats],
    how: str,
    units: int,
    before: dict[str, StageEstimate],
) -> StageEstimate:
    own = {name: Interval.of(found[name]) for name in _OWN}
    counts = {
        name.removeprefix("/"): Interval.of(row) for name, row in found.items() if name[0] == "/"
    }
    factor = own["rows_in"].value / manifest.rows_in if manifest.rows_in else 1.0
    if how != "whole":
        own |= _with_rare(own, manifest, _handed_over(stage, own["rows_in"], before))
    return StageEstimate(
        stage.name,
        how,
        manifest.row_unit,
        rows_in=own["rows_in"],
        rows_out=own["rows_out"],
        rows_rejected=own["rows_rejected"],
        seconds=own["seconds"],
        bytes=own["bytes"],
        metrics=counts,
        measured_units=units,
        factor=factor,
    )


def _handed_over(stage: AnyStage, rows_in: Interval, before: dict[str, StageEstimate]) -> Interval:
    """Returns the bounds of the rows read: at least as wide as those of the stage that wrote them.

    A stage reads what an input writes where the two numbers are the same.
    """
    for name in stage.inputs:
        written = before[name].rows_out if name in before else None
        if written is not None and math.isclose(written.value, rows_in.value, rel_tol=1e-9):
            return rows_in.around(written.low, written.high)
    return rows_in


def _with_rare(
    own: dict[str, Interval], manifest: Manifest, rows_in: Interval
) -> dict[str, Interval]:
    """Returns bounds that allow for rejects too rare for the sample to hold.

    Where no drawn unit rejects anything, every bootstrap draw says zero. Of the rows that were not
    read, Wilson's interval of the share in the sample may be rejected.
    """
    seen, read = manifest.rows_rejected, manifest.rows_in
    if not 0 <= seen <= read:
        return {}
    low, high = wilson(seen, read)
    unread = max(0.0, rows_in.value - read)
    lost, kept = own["rows_rejected"], own["rows_out"]
    lost = lost.around(seen + low * unread, seen + high * unread)
    # What earlier stages may have lost is another chance than this one's: squares add up.
    kept = kept.around(
        kept.value - math.hypot(rows_in.value - rows_in.low, lost.high - lost.value),
        kept.value + math.hypot(rows_in.high - rows_in.value, lost.value - lost.low),
    )
    return {"rows_in": rows_in, "rows_rejected": lost, "rows_out": kept}
