"""An estimate put on a machine: workers at once, hours, money."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.graph import AnyStage
from core.plan.frames import Interval
from core.plan.machine import Machine
from core.plan.measure import StageEstimate
from core.stage import Resources, ShardStage


@dataclass(frozen=True)
class StagePlan:
    """A measured stage on a machine.

    Args:
        estimate: what it takes.
        workers: at once.
        wall_hours: from its start to its end.
        cpu_hours: CPUs that its workers hold, times their hours.
        gpu_hours: the same of accelerators.
        bytes: of its output on disk.
        money: node-hours at the machine's price; None without one.
        model_cost: what its language model's tokens cost, by currency.
    """

    estimate: StageEstimate
    workers: int
    wall_hours: Interval
    cpu_hours: Interval
    gpu_hours: Interval
    bytes: Interval
    money: Interval | None
    model_cost: dict[str, Interval]


def times(value: Interval, factor: float) -> Interval:
    """Returns an interval times a number of at least 0."""
    return Interval(value.value * factor, value.low * factor, value.high * factor)


def added(values: list[Interval]) -> Interval:
    """Returns the sum; its bounds are the sums of the bounds, as if all erred the same way."""
    return Interval(
        sum(v.value for v in values), sum(v.low for v in values), sum(v.high for v in values)
    )


def workers_of(stage: AnyStage, machine: Machine, nodes: int, shards: int) -> tuple[int, Resources]:
    """Returns the workers of a stage at once, and what one holds.

    Args:
        stage: with the recipe's ``cluster.stages`` applied.
        machine: it runs on.
        nodes: of it.
        shards: that it has to do.
    """
    needs = stage.resources
    gpus = needs.gpus
    if needs.gpus_if_any and machine.accelerators_per_node * nodes >= needs.gpus_if_any:
        gpus = needs.gpus_if_any
    held = Resources(needs.cpus, gpus, 0.0, needs.memory_bytes, needs.accelerator_type)
    if not isinstance(stage, ShardStage):
        return 1, held
    have = (
        (machine.cpus_per_node, needs.cpus),
        (float(machine.accelerators_per_node), gpus),
        (machine.memory_gib_per_node * 2**30, float(needs.memory_bytes or 0)),
    )
    # A worker that takes more than a node's accelerators spreads over nodes (a 70B model).
    fits = min((all_of * nodes / one for all_of, one in have if one), default=1.0)
    bounds = [int(fits), shards]
    if asked := stage.actors or stage.workers:
        bounds.append(asked)
    return max(0, min(bounds)), held


def project(
    estimate: StageEstimate,
    stage: AnyStage,
    machine: Machine,
    nodes: int,
    shards: int,
    price: float | None,
) -> StagePlan:
    """Returns a stage on some nodes of a machine.

    A stage's wall time is its workers' seconds over the workers, and at least that of one shard.

    Args:
        estimate: what the stage takes.
        stage: the stage.
        machine: it runs on.
        nodes: of it, held for the stage's time.
        shards: of the whole.
        price: of a node-hour.
    """
    workers, held = workers_of(stage, machine, nodes, shards)
    hours = times(estimate.seconds, 1 / machine.cpu_speed / 3600)
    rounds = math.ceil(shards / workers) / shards if workers else 1.0
    wall = times(hours, rounds if isinstance(stage, ShardStage) else 1.0)
    costs = {
        name.removeprefix("cost_").upper(): value
        for name, value in estimate.metrics.items()
        if name.startswith("cost_")
    }
    return StagePlan(
        estimate,
        workers,
        wall,
        times(hours, held.cpus),
        times(hours, held.gpus),
        added([estimate.bytes, Interval.exact(estimate.footer_bytes * shards)]),
        None if price is None else times(wall, nodes * price),
        costs,
    )
