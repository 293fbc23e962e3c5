"""Decide what to run, run it in order, and write manifests and cards."""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.atomic import sweep, write_json
from core.cards import write_card
from core.counted import counted
from core.errors import StageError
from core.graph import AnyStage, Pipeline, StageState, intact
from core.hashing import sha256_value
from core.manifest import MANIFEST_NAME, SOURCES_NAME, TIMINGS_NAME, Manifest
from core.progress import Reporter, StageProgress
from core.runner.commit import RECEIPTS, REJECTS, Receipt, finished, numbered
from core.runner.jobs import run_job
from core.runner.ledger import Ledger
from core.runner.remote import RemoteRun, fetch_for_plan, remote_run
from core.runner.shards import Quarantined, run_units
from core.session import cluster_cpus, ray_session
from core.stage import JobStage, ShardStage, StageContext, Unit

log = logging.getLogger(__name__)

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
    ctx = pipeline.ctx
    with _lock(ctx.run_dir), remote_run(ctx) as remote, ExitStack() as session:
        for number, stage in enumerate(stages, 1):
            states = pipeline.states([stage.name])
            _require_fresh_inputs(stage, states)
            if states[stage.name].fresh:
                reporter.line(f"[dim]\\[{number}/{len(stages)}] {stage.name}: up to date[/dim]")
                continue
            fingerprint = states[stage.name].fingerprint
            # Manifests of many shards are long: none is held while the stage works.
            del states
            if not ran:
                # Ray starts only when there is work, so a run with nothing to do is done at once.
                session.enter_context(ray_session(address, workers))
            with reporter.stage(stage.name, number, len(stages)) as bar:
                started = time.monotonic()
                manifest = _run_stage(
                    pipeline, stage, fingerprint, bar, workers or cluster_cpus(), remote
                )
            ran.append(stage.name)
            pipeline.forget_sources()
            reporter.line(_summary(manifest, number, len(stages), time.monotonic() - started))
            del manifest
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
    rows = f"{counted(manifest.rows_in, manifest.row_unit)} in, {manifest.rows_out:,} out"
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
        except BlockingIOError as error:
            raise StageError(
                "another astromill run is working in this folder",
                where=str(run_dir),
                remedy="wait for it or stop it; or give this run its own --set run_dir=...",
            ) from error
        except OSError as error:
            log.warning(
                "%s: this file system knows no locks (%s); start no second run in this folder",
                run_dir,
                error.strerror,
            )
        yield


def _run_stage(
    pipeline: Pipeline,
    stage: AnyStage,
    fingerprint: str,
    bar: StageProgress,
    workers: int,
    remote: RemoteRun | None,
) -> Manifest:
    ctx = pipeline.ctx
    folder = ctx.place(stage.name)
    sources = pipeline.sources.hashes(stage.source_files(ctx))
    common = _common(pipeline, stage, fingerprint)
    manifest = _renewed(ctx, common)
    units = 0 if manifest is None or isinstance(stage, JobStage) else len(manifest.shards)
    if manifest is None:
        # From here on the folder is incomplete until its new manifest is written.
        if remote:
            remote.begin(stage.name)
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        started = time.time()
        if isinstance(stage, ShardStage):
            manifest, worker_seconds = _run_shards(pipeline, stage, common, bar, workers, remote)
            units = len(manifest.shards)
        else:
            manifest, worker_seconds = _run_job(pipeline, stage, common, bar), 0.0
        timings = {
            "started_unix_seconds": round(started, 3),
            "wall_seconds": round(time.time() - started, 3),
            "worker_seconds": round(worker_seconds, 3),
        }
        write_json(folder / TIMINGS_NAME, timings)
    if sources:
        write_json(folder / SOURCES_NAME, sources)
    else:
        (folder / SOURCES_NAME).unlink(missing_ok=True)
    write_card(folder, manifest, stage.description)
    manifest.save(folder)
    if remote:
        remote.complete(stage, manifest, units)
    if isinstance(stage, JobStage):
        stage.completed(ctx)
    return manifest


def _common(pipeline: Pipeline, stage: AnyStage, fingerprint: str) -> dict[str, Any]:
    """Returns what a stage's manifest says of what it was made from."""
    ctx = pipeline.ctx
    fingerprints, content = {}, {}
    for name in stage.inputs:
        manifest = _require(ctx, name)
        fingerprints[name], content[name] = manifest.fingerprint, manifest.digest
    sources_digest = pipeline.sources_digest(stage)
    return {
        "stage": stage.name,
        "code_version": stage.code_version,
        "config": stage.config(),
        "seed": ctx.seed,
        "inputs": fingerprints,
        "input_digests": content,
        "sources_digest": sources_digest,
        "fingerprint": fingerprint,
        "key": sha256_value([stage.config_digest(ctx), sources_digest, content]),
        "row_unit": stage.row_unit,
        "reconcile": stage.reconcile,
    }


def _require(ctx: StageContext, name: str) -> Manifest:
    if ctx.mirror:
        ctx.mirror.look(name)
    return Manifest.require(ctx.place(name), name)


def _renewed(ctx: StageContext, common: dict[str, Any]) -> Manifest | None:
    """Returns the manifest of output that was made from the same content; None where there is none.

    Then the inputs were recomputed to the same bytes: only the fingerprints have moved.
    """
    old = ctx.manifest(common["stage"])
    if old is None or old.key != common["key"] or not intact(old, ctx):
        return None
    return replace(old, **common)


def _run_shards(
    pipeline: Pipeline,
    stage: ShardStage,
    common: dict[str, Any],
    bar: StageProgress,
    workers: int,
    remote: RemoteRun | None,
) -> tuple[Manifest, float]:
    """Returns the manifest and the seconds that workers took, those of earlier starts included."""
    ctx = pipeline.ctx
    folder = ctx.place(stage.name)
    for each in (folder, folder / REJECTS, folder / RECEIPTS):
        each.mkdir(parents=True, exist_ok=True)
        sweep(each)
    fetch_for_plan(stage, ctx)
    units = stage.plan(ctx, pipeline.sources)
    _remove_surplus(folder, len(units))
    ledger = Ledger(len(units))
    if remote:
        remote.take_down(stage, ctx, units, ledger)
    else:
        _take_down_finished(stage, ctx, units, ledger)
    rows = 0
    bar.update(ledger.done, len(units))

    def done(receipt: Receipt) -> None:
        nonlocal rows
        ledger.add(receipt)
        rows += receipt.rows_in
        bar.update(ledger.done, len(units), rows=rows)

    todo = (unit for unit in units if unit.index not in ledger)
    given_up = run_units(stage, ctx, todo, workers, done)
    _report_quarantine(folder, stage, given_up, remote)
    return Manifest(**common, **ledger.totals()), ledger.worker_seconds


def _take_down_finished(
    stage: ShardStage, ctx: StageContext, units: Sequence[Unit], ledger: Ledger
) -> None:
    """Enters the units that earlier starts have finished."""
    there = bytearray(len(units))
    for number, _ in numbered(ctx.place(stage.name) / RECEIPTS, "", ".json"):
        there[number] = True
    if not any(there):
        return
    config_digest = stage.config_digest(ctx)
    for unit in units:
        if there[unit.index] and (found := finished(stage, ctx, unit, config_digest)):
            ledger.add(found)


def _remove_surplus(folder: Path, count: int) -> None:
    """Removes shards and receipts numbered beyond the plan: leftovers of a longer input."""
    kinds = ((folder, "part-", ".parquet"), (folder / REJECTS, "part-", ".parquet"))
    for where, prefix, ending in (*kinds, (folder / RECEIPTS, "", ".json")):
        surplus = [name for number, name in numbered(where, prefix, ending) if number >= count]
        for name in surplus:
            (where / name).unlink()


def _report_quarantine(
    folder: Path, stage: ShardStage, given_up: list[Quarantined], remote: RemoteRun | None
) -> None:
    path = folder / QUARANTINE_NAME
    path.unlink(missing_ok=True)
    if not given_up:
        return
    ordered = sorted(given_up, key=lambda q: q.unit.index)
    write_json(path, [asdict(q) for q in ordered])
    if remote:
        remote.put_side(stage.name, path.name)
    first = ordered[0].failure
    shards = ", ".join(str(q.unit.index) for q in ordered[:10])
    raise StageError(
        f"{len(ordered)} shard(s) could not be done; first: {first.what}",
        where=f"{stage.name}, shard {shards} ({first.where})",
        remedy=f"{first.remedy}. Shards that are done are kept; see {path}",
    )


def _run_job(
    pipeline: Pipeline, stage: JobStage, common: dict[str, Any], bar: StageProgress
) -> Manifest:
    ctx = pipeline.ctx
    folder = ctx.place(stage.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    made = run_job(stage, ctx, bar)
    result = made.result
    return Manifest(
        **common,
        files=made.files,
        rows_in=result.rows_in,
        rows_out=result.rows_out,
        rows_rejected=len(result.rejected),
        rejects=dict(sorted(Counter(r.reason.value for r in result.rejected).items())),
        metrics=json.loads(json.dumps(result.metrics, sort_keys=True)),
        volatile=made.volatile,
    )
