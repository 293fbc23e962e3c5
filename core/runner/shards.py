"""Spread a shard stage's units over Ray: tasks, or long-lived actors that hold a model.

Bounded in flight. A worker that dies takes only its unit with it: the unit is tried again, and
after :data:`ATTEMPTS` it is quarantined - named at the end, while all other units are finished,
unless most of them fail.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from core.disk import MAKE_SPACE, DiskFullError, disk_full
from core.errors import AstromillError, EngineError, StageError
from core.log import WorkerRecord, collected, relay
from core.runner.commit import Receipt, process_unit
from core.runner.remote import Orders, fetch_inputs, orders, publish_unit, take_orders
from core.secrets import redact
from core.session import Room, capacity, settle
from core.stage import Resources, ShardStage, StageContext, Unit
from core.storage.remote import StorageError

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Tries per unit before it is quarantined."""
MOST_GIVEN_UP = 100
"""Once so many units are quarantined, and more than were done, the fault is not theirs."""
_LOOK_SECONDS = 30.0


@dataclass(frozen=True)
class Failure:
    """Why a unit was not done.

    ``final`` failures are not tried again; those that meet ``every_unit`` end the stage.
    """

    what: str
    where: str
    remedy: str
    trace: str
    final: bool
    every_unit: bool = False

    def __post_init__(self) -> None:
        """Hides secrets, in the worker that knows them: quarantine files hold what is here."""
        object.__setattr__(self, "what", redact(self.what))
        object.__setattr__(self, "trace", redact(self.trace))


@dataclass(frozen=True)
class Quarantined:
    """A unit given up."""

    unit: Unit
    failure: Failure


_Outcome = tuple[Receipt | Failure, list[WorkerRecord]]


def _guarded(
    stage: ShardStage, ctx: StageContext, unit: Unit, prepare: Callable[[], None]
) -> Receipt | Failure:
    """Runs in the worker: an error comes back as a value, so only a dead worker raises."""
    try:
        prepare()
        fetch_inputs(stage, ctx, unit)
        receipt = process_unit(stage, ctx, unit)
        publish_unit(stage, ctx, receipt)
        return receipt
    except AstromillError as error:
        return _explained(error)
    except Exception as error:
        if full := disk_full(error, ctx.run_dir):
            return _explained(full)
        # Whatever a stage raises must cost this unit only, never the run.
        return Failure(
            f"{type(error).__name__}: {error}",
            f"{stage.name}, shard {unit.index}",
            "see the trace in the quarantine file; fix the input or the stage and run again",
            traceback.format_exc(),
            final=False,
        )


def _explained(error: AstromillError) -> Failure:
    return Failure(
        error.what,
        error.where,
        MAKE_SPACE if isinstance(error, DiskFullError) else error.remedy,
        traceback.format_exc(),
        final=True,
        every_unit=isinstance(error, EngineError | StorageError | DiskFullError),
    )


@ray.remote(max_retries=0)
def _task(stage: ShardStage, ctx: StageContext, given: Orders, unit: Unit) -> _Outcome:
    with collected() as records:
        return _guarded(stage, ctx, unit, lambda: take_orders(given, ctx)), records


class _Actor:
    def __init__(self, stage: ShardStage, ctx: StageContext, given: Orders) -> None:
        self._stage = stage
        self._ctx = ctx
        self._given = given
        self._ready = False

    def process(self, unit: Unit) -> _Outcome:
        def prepare() -> None:
            if not self._ready:
                take_orders(self._given, self._ctx)
                fetch_inputs(self._stage, self._ctx, unit)
                self._stage.setup(self._ctx)
                self._ready = True

        with collected() as records:
            return _guarded(self._stage, self._ctx, unit, prepare), records


def _options(resources: Resources) -> dict[str, Any]:
    return {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "memory": resources.memory_bytes,
        "accelerator_type": resources.accelerator_type,
    }


class _TaskPool:
    """Plain tasks: any free worker takes the next unit."""

    def __init__(self, stage: ShardStage, ctx: StageContext, needs: Resources, size: int) -> None:
        self._remote = _task.options(**_options(needs))
        self._shared = (ray.put(stage), ray.put(ctx), ray.put(orders(stage)))
        self._free = size

    def free(self) -> bool:
        return self._free > 0

    def submit(self, unit: Unit) -> ray.ObjectRef[Any]:
        self._free -= 1
        return self._remote.remote(*self._shared, unit)

    def release(self, ref: ray.ObjectRef[Any], dead: bool) -> None:
        self._free += 1

    def close(self) -> None:
        pass


class _ActorPool:
    """Long-lived actors, each started when it is first needed; one that died is replaced."""

    def __init__(self, stage: ShardStage, ctx: StageContext, needs: Resources, size: int) -> None:
        self._remote = ray.remote(max_restarts=0, max_task_retries=0)(_Actor).options(
            **_options(needs)
        )
        self._shared = (ray.put(stage), ray.put(ctx), ray.put(orders(stage)))
        self._idle: deque[Any] = deque()
        self._to_start = size
        self._busy: dict[ray.ObjectRef[Any], Any] = {}

    def _start(self) -> Any:
        return self._remote.remote(*self._shared)

    def free(self) -> bool:
        return bool(self._idle) or self._to_start > 0

    def submit(self, unit: Unit) -> ray.ObjectRef[Any]:
        if not self._idle:
            self._to_start -= 1
            self._idle.append(self._start())
        actor = self._idle.popleft()
        ref: ray.ObjectRef[Any] = actor.process.remote(unit)
        self._busy[ref] = actor
        return ref

    def release(self, ref: ray.ObjectRef[Any], dead: bool) -> None:
        actor = self._busy.pop(ref)
        self._idle.append(self._start() if dead else actor)

    def close(self) -> None:
        for actor in [*self._idle, *self._busy.values()]:
            ray.kill(actor)


def _open_pool(
    stage: ShardStage, ctx: StageContext, needs: Resources, workers: int
) -> _TaskPool | _ActorPool:
    """Returns as many workers as the run, the stage and the cluster allow.

    Raises:
        StageError: the cluster is too small for one.
    """
    at_once = stage.actors or stage.workers or workers
    size = min(workers, at_once, capacity(needs, stage.name))
    return (_TaskPool if stage.actors is None else _ActorPool)(stage, ctx, needs, size)


class _Queue:
    """The units of a stage that wait, and those that were given up."""

    def __init__(self, units: Iterable[Unit], stage: str) -> None:
        self.given_up: list[Quarantined] = []
        self._new = iter(units)
        self._again: deque[Unit] = deque()
        self._attempts: dict[int, int] = {}
        self._finished = 0
        self._stage = stage

    def next(self) -> Unit | None:
        """Returns the unit to do next, those that failed after all others; None: none waits."""
        unit = next(self._new, None)
        return self._again.popleft() if unit is None and self._again else unit

    def finished(self) -> None:
        self._finished += 1

    def failed(self, unit: Unit, failure: Failure) -> None:
        """Has the unit tried again, or gives it up.

        Raises:
            StageError: what failed this unit would fail them all.
        """
        if failure.every_unit:
            raise StageError(
                failure.what,
                where=f"{self._stage}, shard {unit.index} ({failure.where})",
                remedy=f"{failure.remedy}; then run again: finished shards are kept",
            )
        self._attempts[unit.index] = self._attempts.get(unit.index, 0) + 1
        if not failure.final and self._attempts[unit.index] < ATTEMPTS:
            log.warning("%s shard %d: %s; trying again", self._stage, unit.index, failure.what)
            self._again.append(unit)
            return
        self.given_up.append(Quarantined(unit, failure))
        if len(self.given_up) == max(MOST_GIVEN_UP, self._finished + 1):
            log.warning("%s: most shards fail; no more are begun", self._stage)
            self._new = iter(())


def run_units(
    stage: ShardStage,
    ctx: StageContext,
    units: Iterable[Unit],
    workers: int,
    done: Callable[[Receipt], None],
) -> list[Quarantined]:
    """Does all units; returns those that were given up.

    Args:
        stage: the stage.
        ctx: the run.
        units: what is left to do, taken as workers come free; not all, where most fail.
        workers: units in work at once; for actors ``stage.actors`` is a further bound.
        done: told of every finished unit, in no particular order.

    Raises:
        StageError: the cluster is too small for one worker of the stage, or what failed one unit
            would fail them all.
    """
    coming = iter(units)
    first = next(coming, None)
    if first is None:
        return []
    queue = _Queue(chain([first], coming), stage.name)
    needs = settle(stage.resources)
    pool = _open_pool(stage, ctx, needs, workers)
    room = Room(needs, stage.name)
    working: dict[ray.ObjectRef[Any], Unit] = {}
    try:
        while True:
            while pool.free() and (unit := queue.next()) is not None:
                working[pool.submit(unit)] = unit
            if not working:
                return queue.given_up
            ready, _ = ray.wait(list(working), num_returns=1, timeout=_LOOK_SECONDS)
            if not ready:
                room.check()
                continue
            unit = working.pop(ready[0])
            outcome, dead = _fetch(ready[0], stage, unit)
            pool.release(ready[0], dead)
            if isinstance(outcome, Receipt):
                done(outcome)
                queue.finished()
            else:
                queue.failed(unit, outcome)
    finally:
        for ref in working:
            ray.cancel(ref, force=stage.actors is None)
        pool.close()


def _fetch(
    ref: ray.ObjectRef[Any], stage: ShardStage, unit: Unit
) -> tuple[Receipt | Failure, bool]:
    """Returns the outcome and whether the worker died."""
    try:
        outcome, records = ray.get(ref)
        relay(records, stage.name, unit.index)
        return outcome, False
    except RayError as error:
        failure = Failure(
            f"the worker died ({type(error).__name__})",
            f"{stage.name}, shard {unit.index}",
            "look for lack of memory or a crash in native code; the shard's input is named in "
            "the quarantine file",
            str(error),
            final=False,
        )
        return failure, isinstance(error, RayActorError)
