from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.graph import AnyStage, Pipeline
from core.manifest import TIMINGS_NAME, FileEntry, Manifest
from core.plan import SampledStage, StageEstimate, estimate_stages
from core.plan.sampled import frame_path
from core.runner.commit import Receipt, receipt_path
from core.shards import shard_name, write_shard
from core.stage import JobResult, JobStage, ShardResult, ShardStage, StageContext, Unit


class Shards(ShardStage):
    description = "a stage"
    schema = pa.schema([("text", pa.string())])

    def __init__(self, name: str, *aligned: str) -> None:
        self.name = name
        self.inputs = self.aligned = aligned

    def config(self) -> dict[str, Any]:
        return {}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        raise AssertionError("nothing is run")


class Clusters(JobStage):
    name = "corpus.dedup_clusters"
    description = "a job"
    inputs = ("corpus.normalize",)

    def config(self) -> dict[str, Any]:
        return {}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        raise AssertionError("nothing is run")


def finish(
    ctx: StageContext, stage: AnyStage, counts: list[tuple[int, int]], seconds: float = 1.0
) -> None:
    """Leaves what a run of the stage would: a shard per (rows read, rows kept)."""
    folder = ctx.folder(stage.name)
    files = []
    for index, (rows_in, rows_out) in enumerate(counts):
        name = shard_name(index)
        write_shard(folder / name, pa.table({"text": ["word"] * rows_out}))
        entry = FileEntry(name, (folder / name).stat().st_size, "0", rows_out)
        files.append(entry)
        if isinstance(stage, ShardStage):
            receipt = Receipt(
                index, "key", [entry], rows_in, rows_out, rows_in - rows_out, {},
                {"tokens": 10 * rows_out}, seconds,
            )  # fmt: skip
            path = receipt_path(folder, index)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(asdict(receipt)))
    read, kept = (sum(column) for column in zip(*counts, strict=True))
    manifest = Manifest(
        stage.name, 1, {}, 1, {}, {}, "", "", "", files, "document", read, kept, read - kept
    )
    manifest.save(folder)
    (folder / TIMINGS_NAME).write_text(json.dumps({"wall_seconds": seconds}))


def estimates(ctx: StageContext, counts: list[tuple[int, int]]) -> dict[str, StageEstimate]:
    """Two of eight units drawn; the second stage keeps some rows, the third mixes the shards."""
    ingest = SampledStage(Shards("corpus.ingest"), 0.25)
    normalize = Shards("corpus.normalize", "corpus.ingest")
    stages: list[AnyStage] = [ingest, normalize, Clusters()]
    finish(ctx, ingest, [(rows, rows) for rows, _ in counts])
    finish(ctx, normalize, counts, seconds=2.0)
    finish(ctx, stages[2], [(sum(k for _, k in counts), sum(k for _, k in counts))], seconds=3.0)
    path = frame_path(ctx, "corpus.ingest")
    path.parent.mkdir(parents=True)
    frame = {"strata": ["a", "a"], "sizes": [5, 5], "whole_sizes": {"a": 40}}
    path.write_text(json.dumps({**frame, "whole_units": {"a": 8}}))
    pipeline = Pipeline(stages, ctx)
    return {e.stage: e for e in estimate_stages(pipeline, set(pipeline.stages))}


def test_what_each_kind_of_stage_grows_by(context: StageContext) -> None:
    """A quarter of the entries was read: rows, seconds and tokens are four times as many."""
    found = estimates(context, [(10, 8), (10, 6)])
    normalize, clusters = found["corpus.normalize"], found["corpus.dedup_clusters"]
    assert (normalize.how, clusters.how) == ("sample", "scaled")
    assert normalize.rows_in.value == pytest.approx(80)
    assert normalize.rows_out.value == pytest.approx(56)
    assert normalize.metrics["tokens"].value == pytest.approx(560)
    assert normalize.seconds.value == pytest.approx(16)
    assert normalize.footer_bytes > 0
    assert clusters.rows_out.value == pytest.approx(56)
    assert clusters.seconds.value == pytest.approx(12)
    assert clusters.factor == pytest.approx(4)
    assert clusters.rows_out.low < 56 < clusters.rows_out.high


def test_rejects_that_the_sample_does_not_hold_are_allowed_for(context: StageContext) -> None:
    """None of 20 rows was rejected; of the other 60 as many as Wilson's 16.1% may be."""
    normalize = estimates(context, [(10, 10), (10, 10)])["corpus.normalize"]
    assert normalize.rows_rejected.value == 0
    assert normalize.rows_rejected.low == 0
    assert normalize.rows_rejected.high == pytest.approx(0.1611 * 60, rel=0.01)
    assert normalize.rows_out.low < 80 - 9


def test_only_stages_that_were_asked_for(context: StageContext) -> None:
    estimates(context, [(1, 1), (1, 1)])
    stage = Shards("corpus.normalize")
    assert estimate_stages(Pipeline([stage], context), set()) == []
    (found,) = estimate_stages(Pipeline([stage], context), {"corpus.normalize"})
    assert found.how == "whole"
    assert found.rows_out.low == found.rows_out.high == 2
