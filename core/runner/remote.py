"""Commit a run at a URL: objects are put in an order in which no reader is ever misled.

An object store has no rename. So a unit's shard and rejects are put first and its receipt last,
a stage's files first and its manifest last, and before a stage is made again its manifest goes
first. What the URL holds is the truth; files on the nodes are copies (``core/storage``).
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import AstromillError, StageError
from core.file_list import FileEntry
from core.manifest import MANIFEST_NAME, SOURCES_NAME, Manifest
from core.runner.commit import RECEIPTS, Receipt, receipt_path, unit_key
from core.runner.ledger import Ledger
from core.stage import JobStage, ShardStage, Stage, StageContext, Unit
from core.storage.cache import CACHE_VARIABLE, cache_folder, remember
from core.storage.inputs import Settings, forget_inputs, known_settings, take_settings
from core.storage.lease import Lease
from core.storage.mirror import RUN_FILES, SIDE_FILES, RunMirror, forget_mirrors, mirror
from core.storage.remote import all_at_once, each_at_once
from core.threads import one_thread

log = logging.getLogger(__name__)

_LOGS = "logs/"


@dataclass(frozen=True)
class Orders:
    """What a worker must know of storage besides the stage.

    Args:
        token: another one for each start of a stage: what a worker knew before may have changed.
        cache: folder of copies, the same on every node.
        stage: the stage that is made.
        settings: of the recipe's URLs, see :func:`core.storage.inputs.known_settings`.
    """

    token: str
    cache: str
    stage: str
    settings: tuple[Settings, dict[str, str]]


def orders(stage: Stage) -> Orders:
    """Returns the orders for one start of a stage."""
    return Orders(uuid.uuid4().hex, str(cache_folder()), stage.name, known_settings())


_token = ""


def take_orders(given: Orders, ctx: StageContext) -> None:
    """Runs in the worker, before a unit or job: forgets what earlier stages left behind."""
    global _token
    if given.token == _token:
        return
    one_thread()
    os.environ[CACHE_VARIABLE] = given.cache
    forget_inputs()
    take_settings(given.settings)
    forget_mirrors()
    if ctx.remote is not None:
        found = mirror(ctx.remote, ctx.run_dir)
        found.working = True
        found.own(given.stage)
    _token = given.token


def fetch_inputs(stage: Stage, ctx: StageContext, unit: Unit | None = None) -> None:
    """Makes local what a unit or job reads of other stages: its shard, or all there is.

    Raises:
        InputError: an object is missing or damaged.
    """
    if ctx.remote is None:
        return
    found = mirror(ctx.remote, ctx.run_dir)
    aligned = stage.aligned if isinstance(stage, ShardStage) else ()
    for name in stage.inputs:
        shard = unit.payload.get("shard") if unit is not None else None
        if name in aligned and shard is not None:
            found.file(name, shard)
        elif unit is not None or name not in aligned:
            found.whole(name)


def fetch_for_plan(stage: ShardStage, ctx: StageContext) -> None:
    """Makes local what a stage with a plan of its own may read to make it: all but weights."""
    if ctx.remote is None or type(stage).plan is ShardStage.plan:
        return
    found = mirror(ctx.remote, ctx.run_dir)
    for name in stage.inputs:
        found.small(name)
        found.files(name, "part-")


def publish_unit(stage: ShardStage, ctx: StageContext, receipt: Receipt) -> None:
    """Puts what a unit made; the receipt last.

    Raises:
        InputError: it cannot be written.
    """
    if ctx.remote is None:
        return
    found, folder = mirror(ctx.remote, ctx.run_dir), ctx.place(stage.name)
    for entry in receipt.files:
        remember(folder / entry.name, entry.sha256)
        found.remote.put(folder / entry.name, found.key(stage.name, entry.name))
    path = receipt_path(folder, receipt.index)
    found.remote.put(path, found.key(stage.name, f"{RECEIPTS}/{path.name}"))


def publish_job(
    stage: JobStage, ctx: StageContext, folder: Path, files: Sequence[FileEntry]
) -> None:
    """Puts what a job made, logs and volatile files too; its manifest is the driver's to put.

    Args:
        stage: the job.
        ctx: the run.
        folder: the finished output.
        files: of it, those whose hashes are known.

    Raises:
        InputError: it cannot be written.
    """
    if ctx.remote is None:
        return
    found = mirror(ctx.remote, ctx.run_dir)
    for entry in files:
        remember(folder / entry.name, entry.sha256)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    remote = found.remote
    all_at_once(lambda name: remote.put(folder / name, found.key(stage.name, name)), sorted(names))
    # Of an earlier start; the driver, which knows no names of logs, leaves them.
    old = [name for name in found.listing(stage.name) if name.startswith(_LOGS)]
    old = [name for name in old if name not in names]
    all_at_once(lambda name: remote.delete(found.key(stage.name, name)), old)


class RemoteRun:
    """A run at a URL as its driver sees it."""

    def __init__(self, ctx: StageContext, found: RunMirror, lease: Lease) -> None:
        """Takes the open run."""
        self._ctx = ctx
        self._mirror = found
        self._lease = lease

    def begin(self, stage: str) -> None:
        """Makes a stage unfinished: its manifest goes before anything else changes."""
        self._lease.check()
        self._mirror.own(stage)
        self._mirror.remote.delete(self._mirror.key(stage, MANIFEST_NAME))

    def take_down(
        self, stage: ShardStage, ctx: StageContext, units: Sequence[Unit], ledger: Ledger
    ) -> None:
        """Enters the units whose receipt and files are at the URL; other receipts are removed."""
        listed = self._mirror.listing(stage.name)
        config_digest = stage.config_digest(ctx)
        folder, remote = ctx.place(stage.name), self._mirror.remote
        names = [name for name in listed if name.startswith(f"{RECEIPTS}/")]
        numbers = {name: name.removeprefix(f"{RECEIPTS}/").removesuffix(".json") for name in names}
        known = {n: int(v) for n, v in numbers.items() if v.isdecimal() and int(v) < len(units)}

        def read(name: str) -> Receipt | None:
            path = receipt_path(folder, known[name])
            remote.get(self._mirror.key(stage.name, name), path)
            return Receipt.load(path)

        useless = [name for name in names if name not in known]
        for name, receipt in zip(known, each_at_once(read, known), strict=True):
            unit = units[known[name]]
            if (
                receipt is not None
                and receipt.key == unit_key(stage, ctx, unit, config_digest)
                and all(listed.get(entry.name) == entry.bytes for entry in receipt.files)
            ):
                ledger.add(receipt)
            else:
                useless.append(name)
        # Before its shard is put anew: an old receipt beside a new shard would tell a lie.
        all_at_once(lambda name: remote.delete(self._mirror.key(stage.name, name)), useless)

    def put_side(self, stage: str, name: str) -> None:
        """Puts a file of a stage's folder that no manifest lists."""
        path = self._ctx.place(stage) / name
        if path.is_file():
            self._mirror.remote.put(path, self._mirror.key(stage, name))

    def complete(self, stage: Stage, manifest: Manifest, units: int) -> None:
        """Makes a stage finished, its files being there: removes what is not its own, then commits.

        Args:
            stage: the stage.
            manifest: already saved in the mirror.
            units: of a shard stage, how many receipts belong to it.

        Raises:
            StageError: a file is not there as it was put, or another driver has taken the run.
        """
        # Also before anything is removed: it might be the other driver's.
        self._lease.check()
        name = stage.name
        wanted = {entry.name: entry.bytes for entry in manifest.files}
        listed = self._mirror.listing(name)
        for file, size in wanted.items():
            if listed.get(file) != size:
                raise StageError(
                    f"the storage has not kept {file}: {size:,} bytes were put, "
                    f"{listed.get(file, 0):,} are there",
                    where=self._mirror.remote.url.below(self._mirror.key(name, file)).shown,
                    remedy="run again: only what is missing is made anew",
                )
        keep = {*wanted, *manifest.volatile, *SIDE_FILES[:-1]}
        if not (self._ctx.place(name) / SOURCES_NAME).is_file():
            keep.discard(SOURCES_NAME)
        keep |= {f"{RECEIPTS}/{number:05d}.json" for number in range(units)}
        surplus = [each for each in listed if each not in keep and not each.startswith(_LOGS)]
        remote = self._mirror.remote
        all_at_once(lambda each: remote.delete(self._mirror.key(name, each)), surplus)
        for each in SIDE_FILES[:-1]:
            self.put_side(name, each)
        self._lease.check()
        remote.put(self._ctx.place(name) / MANIFEST_NAME, self._mirror.key(name, MANIFEST_NAME))
        self._mirror.own(None)


@contextmanager
def remote_run(ctx: StageContext) -> Iterator[RemoteRun | None]:
    """Opens a run for its one driver; nothing for a run on a local path.

    Raises:
        InputError: the storage does not answer.
        StageError: another driver is at the run.
    """
    forget_inputs()
    forget_mirrors()
    if ctx.remote is None:
        yield None
        return
    found = mirror(ctx.remote, ctx.run_dir)
    found.working, found.driving = True, False
    try:
        with Lease(found.remote, ctx.run_dir, lambda: put_run_files(ctx)) as lease:
            found.driving = True
            try:
                yield RemoteRun(ctx, found, lease)
            finally:
                # It has the last word on its own log, if no other driver has taken the run.
                found.driving = lease.held
    finally:
        found.working = False


def put_run_files(ctx: StageContext) -> None:
    """Puts how far the run is and its log, for those who look on from elsewhere."""
    found = ctx.mirror
    # Another's run is not spoken for.
    if found is None or not found.driving:
        return
    remote = found.remote
    for name in RUN_FILES:
        path = ctx.run_dir / name
        try:
            if path.is_file():
                remote.put(path, name)
        except AstromillError as error:
            log.warning("%s could not be put: %s", name, error)
