"""Run a job stage: in a Ray task or in the driver, into a temporary folder, then into place."""

from __future__ import annotations

import shutil
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from core.atomic import replace_folder
from core.disk import disk_full
from core.errors import AstromillError, StageError
from core.hashing import sha256_file
from core.log import WorkerRecord, collected, relay
from core.manifest import MANIFEST_NAME, FileEntry
from core.progress import StageProgress
from core.rejects import rejects_table
from core.runner.commit import REJECTS
from core.runner.remote import Orders, fetch_inputs, orders, publish_job, take_orders
from core.runner.shared import require_shared_copies
from core.session import Room, capacity
from core.shards import shard_name, write_shard
from core.stage import JobResult, JobStage, StageContext

LOGS = "logs"
"""Files below it hold timings and paths and stay out of the manifest."""

ATTEMPTS = 3
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class JobMade:
    """A job's output in its place: what the job says, its files, and those not hashed."""

    result: JobResult
    files: list[FileEntry]
    volatile: list[str]


@ray.remote(max_retries=0)
def _job_task(
    stage: JobStage, ctx: StageContext, out: Path, given: Orders
) -> tuple[JobMade | AstromillError, list[WorkerRecord]]:
    with collected() as records:
        try:
            take_orders(given, ctx)
            return _fill(stage, ctx, out), records
        except AstromillError as error:
            return error, records


def run_job(stage: JobStage, ctx: StageContext, bar: StageProgress) -> JobMade:
    """Fills the stage's folder with its output: whole, or nothing of it.

    Raises:
        AstromillError: the stage failed; nothing of it is kept.
    """
    folder = ctx.place(stage.name)
    out = folder.with_name(folder.name + ".work")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _in_task(stage, ctx, out, bar) if stage.remote else _here(stage, ctx, out, bar)
        except AstromillError:
            raise
        except RayError as error:
            if full := disk_full(error, ctx.run_dir):
                raise full from error
            # A dead worker may do better next time; a stage that raised will raise again.
            final = isinstance(error, TaskCancelledError | RayTaskError)
            if attempt == ATTEMPTS or final:
                raise StageError(
                    f"the worker failed: {_last_line(error)}",
                    where=stage.name,
                    remedy="run with --debug for the trace; look for lack of memory",
                ) from error
        except Exception as error:
            if full := disk_full(error, ctx.run_dir):
                raise full from error
            # A stage's own fault: three lines for the user, the trace for --debug.
            raise StageError(
                f"{type(error).__name__}: {error}",
                where=stage.name,
                remedy=f"run with --debug for the trace; it ended in {_last_frame(error)}",
            ) from error
    raise AssertionError("unreachable")


def _fill(stage: JobStage, ctx: StageContext, out: Path) -> JobMade:
    """Does the job in ``out`` and moves that into place, on the node where the job runs."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    fetch_inputs(stage, ctx)
    result = stage.run(ctx, out)
    if result.rows_in != result.rows_out + len(result.rejected):
        raise StageError(
            f"rows do not add up: {result.rows_in} {stage.row_unit}s in, {result.rows_out} out, "
            f"{len(result.rejected)} rejected",
            where=stage.name,
            remedy="this is a fault in the stage's code; please report it",
        )
    if result.rejected:
        write_shard(out / REJECTS / shard_name(0), rejects_table(stage.name, result.rejected))
    files = list_files(out, list(stage.volatile))
    folder = ctx.place(stage.name)
    replace_folder(out, folder)
    publish_job(stage, ctx, folder, files)
    # Some are written only where there is something to say.
    volatile = [name for name in stage.volatile if (folder / name).is_file()]
    return JobMade(result, files, volatile)


def _in_task(stage: JobStage, ctx: StageContext, out: Path, bar: StageProgress) -> JobMade:
    needs = stage.resources
    capacity(needs, stage.name)
    remote = _job_task.options(
        num_cpus=needs.cpus,
        num_gpus=needs.gpus,
        memory=needs.memory_bytes,
        accelerator_type=needs.accelerator_type,
        name=stage.name,
    )
    ref = remote.remote(stage, ctx, out, orders(stage))
    room = Room(needs, stage.name)
    try:
        while not ray.wait([ref], timeout=_POLL_SECONDS)[0]:
            _show(stage, out, bar)
            room.check()
    except BaseException:
        ray.cancel(ref, force=True)
        raise
    outcome, records = ray.get(ref)
    relay(records, stage.name)
    if isinstance(outcome, AstromillError):
        raise outcome
    return outcome


def _here(stage: JobStage, ctx: StageContext, out: Path, bar: StageProgress) -> JobMade:
    require_shared_copies(stage, ctx)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL_SECONDS):
            _show(stage, out, bar)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return _fill(stage, ctx, out)
    finally:
        stop.set()
        watcher.join(timeout=2 * _POLL_SECONDS)


def _show(stage: JobStage, out: Path, bar: StageProgress) -> None:
    try:
        state = stage.progress(out)
    except (OSError, ValueError):
        # The job is writing the very file that progress is read from; the next look will do.
        return
    if state is not None:
        bar.update(*state)


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _last_frame(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


def list_files(folder: Path, volatile: list[str]) -> list[FileEntry]:
    """Returns the entries of a job's output files, sorted by name, without the volatile ones."""
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name in volatile or name == MANIFEST_NAME:
            continue
        if name.split("/")[0] == LOGS:
            continue
        entries.append(FileEntry(name, path.stat().st_size, sha256_file(path)))
    return entries
