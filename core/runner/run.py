"""Decide what to run, run it in order, and write manifests and cards."""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.atomic import replace_folder, sweep, write_json
from core.cards import write_card
from core.errors import StageError
from core.graph import AnyStage, Pipeline, StageState
from core.hashing import sha256_value
from core.manifest import MANIFEST_NAME, SOURCES_NAME, TIMINGS_NAME, FileEntry, Manifest
from core.progress import Reporter, StageProgress
from core.runner.commit import RECEIPTS, REJECTS, Receipt, finished
from core.runner.jobs import list_files, run_job
from core.runner.shards import Quarantined, run_units
from core.session import cluster_cpus, ray_session
from core.stage import JobStage, ShardStage

QUARANTINE_NAME = "quarantine.json"


def run_pipeline(
    pipeline: Pipeline,
    stages: Sequence[AnyStage],
    reporter: Reporter,
    *,
    address: str | None = None,
    workers: int | None = None,
) -> list[str]:
    """Brings stages up to date, in order; fresh ones are skipped.

    Args:
        pipeline: the recipe's stages.
        stages: which of them to run.
        reporter: where progress is shown.
        address: Ray cluster, see :func:`core.session.ray_session`.
        workers: shards in work at once; None: as many as the cluster has CPUs.

    Returns:
        Names of the stages that did work.

    Raises:
        StageError: a stage could not be finished, or another run holds the folder.
        InputError: a stage's input is missing.
    """
    ran: list[str] = []
    with _lock(pipeline.ctx.run_dir), ExitStack() as session:
        for number, stage in enumerate(stages, 1):
            states = pipeline.states([stage.name])
            state = states[stage.name]
            _require_fresh_inputs(stage, states)
            if state.fresh:
                reporter.line(f"[dim]\\[{number}/{len(stages)}] {stage.name}: up to date[/dim]")
                continue
            if not ran:
                # Ray starts only when there is work, so a run with nothing to do is done at once.
                session.enter_context(ray_session(address, workers))
            with reporter.stage(stage.name, number, len(stages)) as bar:
                started = time.monotonic()
                manifest = _run_stage(pipeline, stage, state, bar, workers or cluster_cpus())
            ran.append(stage.name)
            pipeline.forget_sources()
            reporter.line(_summary(manifest, number, len(stages), time.monotonic() - started))
    return ran


def _require_fresh_inputs(stage: AnyStage, states: dict[str, StageState]) -> None:
    for name in stage.inputs:
        if not states[name].fresh:
            raise StageError(
                f"its input '{name}' is not up to date: {'; '.join(states[name].reasons)}",
                where=stage.name,
                remedy=f"run that first: astromill run RECIPE --until {stage.name}",
            )


def _summary(manifest: Manifest, number: int, count: int, seconds: float) -> str:
    rows = f"{manifest.rows_in:,} {manifest.row_unit}s in, {manifest.rows_out:,} out"
    if manifest.rows_rejected:
        reasons = ", ".join(f"{name} {n:,}" for name, n in manifest.rejects.items())
        rows += f", {manifest.rows_rejected:,} rejected ({reasons})"
    return f"\\[{number}/{count}] [bold]{manifest.stage}[/bold]: {rows} [dim]{seconds:.1f} s[/dim]"


@contextmanager
def _lock(run_dir: Path) -> Iterator[None]:
    """Holds the run folder: two drivers at once would mix their outputs."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StageError(
                "another astromill run is working in this folder",
                where=str(run_dir),
                remedy="wait for it or stop it; or give this run its own --set run_dir=...",
            ) from error
        yield


def _run_stage(
    pipeline: Pipeline, stage: AnyStage, state: StageState, bar: StageProgress, workers: int
) -> Manifest:
    ctx = pipeline.ctx
    folder = ctx.folder(stage.name)
    inputs = {name: Manifest.require(ctx.folder(name), name) for name in stage.inputs}
    sources = pipeline.sources.hashes(stage.source_files(ctx))
    sources_digest = pipeline.sources_digest(stage)
    content = {name: manifest.digest for name, manifest in inputs.items()}
    common: dict[str, Any] = {
        "stage": stage.name,
        "code_version": stage.code_version,
        "config": stage.config(),
        "seed": ctx.seed,
        "inputs": {name: manifest.fingerprint for name, manifest in inputs.items()},
        "input_digests": content,
        "sources_digest": sources_digest,
        "fingerprint": state.fingerprint,
        "key": sha256_value([stage.config_digest(ctx), sources_digest, content]),
        "row_unit": stage.row_unit,
        "reconcile": stage.reconcile,
    }
    old = state.manifest
    if old is not None and old.key == common["key"] and old.intact(folder):
        # Inputs were recomputed to the same bytes: only the fingerprints have moved.
        manifest = Manifest(**{**_fields(old), **common})
    else:
        # From here on the folder is incomplete until its new manifest is written.
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        started = time.time()
        if isinstance(stage, ShardStage):
            manifest = _run_shards(pipeline, stage, common, bar, workers)
        else:
            manifest = _run_job(pipeline, stage, common, bar)
        write_json(folder / TIMINGS_NAME, _timings(folder, started))
    if sources:
        write_json(folder / SOURCES_NAME, sources)
    write_card(folder, manifest, stage.description)
    manifest.save(folder)
    if isinstance(stage, JobStage):
        stage.completed(ctx)
    return manifest


def _fields(manifest: Manifest) -> dict[str, Any]:
    # Not asdict: that would turn the file entries into dicts.
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}


def _timings(folder: Path, started: float) -> dict[str, Any]:
    receipts = [Receipt.load(path) for path in sorted((folder / RECEIPTS).glob("*.json"))]
    return {
        "started_unix_seconds": round(started, 3),
        "wall_seconds": round(time.time() - started, 3),
        "worker_seconds": round(sum(r.seconds for r in receipts if r), 3),
    }


def _run_shards(
    pipeline: Pipeline, stage: ShardStage, common: dict[str, Any], bar: StageProgress, workers: int
) -> Manifest:
    ctx = pipeline.ctx
    folder = ctx.folder(stage.name)
    for each in (folder, folder / REJECTS, folder / RECEIPTS):
        each.mkdir(parents=True, exist_ok=True)
        sweep(each)
    units = stage.plan(ctx, pipeline.sources)
    _remove_surplus(folder, len(units))
    receipts = {u.index: r for u in units if (r := finished(stage, ctx, u)) is not None}
    rows = 0
    bar.update(len(receipts), len(units))

    def done(receipt: Receipt) -> None:
        nonlocal rows
        receipts[receipt.index] = receipt
        rows += receipt.rows_in
        bar.update(len(receipts), len(units), rows=rows)

    todo = [unit for unit in units if unit.index not in receipts]
    given_up = run_units(stage, ctx, todo, workers, done)
    _report_quarantine(folder, stage, given_up)
    ordered = [receipts[unit.index] for unit in units]
    return Manifest(
        **common,
        files=[entry for receipt in ordered for entry in receipt.files],
        rows_in=sum(r.rows_in for r in ordered),
        rows_out=sum(r.rows_out for r in ordered),
        rows_rejected=sum(r.rows_rejected for r in ordered),
        rejects=_sum(r.rejects for r in ordered),
        metrics=_sum(r.metrics for r in ordered),
    )


def _sum(counts: Any) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _remove_surplus(folder: Path, count: int) -> None:
    """Removes shards and receipts numbered beyond the plan: leftovers of a longer input."""
    for path in [
        *folder.glob("part-*.parquet"),
        *(folder / REJECTS).glob("part-*.parquet"),
        *(folder / RECEIPTS).glob("*.json"),
    ]:
        if int(path.stem.removeprefix("part-")) >= count:
            path.unlink()


def _report_quarantine(folder: Path, stage: ShardStage, given_up: list[Quarantined]) -> None:
    path = folder / QUARANTINE_NAME
    path.unlink(missing_ok=True)
    if not given_up:
        return
    ordered = sorted(given_up, key=lambda q: q.unit.index)
    write_json(path, [asdict(q) for q in ordered])
    first = ordered[0].failure
    shards = ", ".join(str(q.unit.index) for q in ordered[:10])
    raise StageError(
        f"{len(ordered)} shard(s) could not be done; first: {first.what}",
        where=f"{stage.name}, shard {shards} ({first.where})",
        remedy=f"{first.remedy}. All other shards are done and kept; see {path}",
    )


def _run_job(
    pipeline: Pipeline, stage: JobStage, common: dict[str, Any], bar: StageProgress
) -> Manifest:
    ctx = pipeline.ctx
    folder = ctx.folder(stage.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(folder.name + ".work")
    sweep(folder.parent)
    result = run_job(stage, ctx, work, bar)
    files: list[FileEntry] = list_files(work, list(stage.volatile))
    replace_folder(work, folder)
    return Manifest(
        **common,
        files=files,
        rows_in=result.rows_in,
        rows_out=result.rows_out,
        rows_rejected=len(result.rejected),
        rejects=_sum([Counter(r.reason.value for r in result.rejected)]),
        metrics=json.loads(json.dumps(result.metrics, sort_keys=True)),
        # Some are written only where there is something to say.
        volatile=[name for name in stage.volatile if (folder / name).is_file()],
    )
