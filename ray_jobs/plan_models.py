"""Training and merging on a machine, from models: arithmetic, memory, disk."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from core.counted import counted
from core.plan import Interval, Machine
from core.plan.project import times
from core.recipe import LoadedRecipe
from core.recipe.train import ModelShape, Trainer
from core.stage import StageContext
from merge.budget import estimate
from merge.weights import ModelWeights
from ray_jobs.train_runs import RUNS, Shape, model_shape, plan_in_numbers, sequence_length
from train.budget import ModelSize, flop_per_token, model_size, rank_memory

STATE_BYTES = 12
"""Of a checkpoint per parameter: weights and two Adam moments in float32."""

MERGE_CPU_SECONDS = 3.5 * 3600 / 70.6e9
"""Of a merge per parameter: DARE-TIES of 70B takes about 3.5 CPU-hours."""

_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class TrainPlan:
    """A training run on a machine.

    Args:
        run: its stage.
        parameters: of the model.
        ranks: workers.
        nodes: that the ranks need.
        tokens: trained on, all epochs; None where neither data nor ``plan_tokens`` says.
        steps: optimizer steps, of the estimate.
        flop: of the estimate, recomputation not counted.
        rank_bytes: memory of the fullest rank.
        rank_bytes_otherwise: the same with activation checkpointing switched over.
        checkpointing: activation checkpointing is on.
        usable_bytes: that a rank may fill; None where the machine does not say.
        tflop_per_s: of a rank; None where it is not known.
        wall_hours: of the run.
        rank_hours: ranks times hours: the papers' GPU-hours.
        disk_bytes: checkpoints at the fullest and the model.
        money: node-hours at the price.
        notes: what is odd.
    """

    run: str
    parameters: int
    ranks: int
    nodes: int
    tokens: Interval | None
    steps: int | None
    flop: float | None
    rank_bytes: int
    rank_bytes_otherwise: int
    checkpointing: bool
    usable_bytes: float | None
    tflop_per_s: float | None
    wall_hours: Interval | None
    rank_hours: Interval | None
    disk_bytes: int
    money: Interval | None
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool | None:
        """Whether a rank's memory is enough; None where the machine's is not known."""
        return None if self.usable_bytes is None else self.rank_bytes <= self.usable_bytes


@dataclass(frozen=True)
class MergePlan:
    """A merge on one node: the slower of reading, arithmetic and writing decides."""

    parameters: int
    models: int
    memory_bytes: int
    out_bytes: int
    wall_hours: float
    fits: bool


def base_shape(loaded: LoadedRecipe, ctx: StageContext) -> Shape | None:
    """Returns the base model's sizes and whether its head is tied; None where nothing says."""
    train = loaded.recipe.train
    return None if train is None else model_shape(train, "train.base", ctx)


def plan_training(
    loaded: LoadedRecipe,
    run: str,
    shape: Shape,
    tokens: Interval | None,
    machine: Machine,
    nodes: int,
    price: float | None,
    tflop_per_s: float | None,
) -> TrainPlan:
    """Returns a training run on a machine.

    Args:
        loaded: the recipe.
        run: name of the run: ``cpt``.
        shape: of its model, and whether the head is tied.
        tokens: predicted for one epoch; None: the recipe's ``plan_tokens``.
        machine: it runs on.
        nodes: of it that may be used.
        price: of a node-hour.
        tflop_per_s: of a rank; None: the machine's.

    Raises:
        RecipeError: the batch does not divide.
    """
    train = loaded.recipe.train
    assert train is not None
    section: Trainer = getattr(train, run)
    length = sequence_length(loaded, run)
    # A sample's tokens come as an interval; the plan is linear in them.
    epoch = tokens or (Interval.exact(section.plan_tokens) if section.plan_tokens else None)
    sequences = None if epoch is None else max(1, math.ceil(epoch.value / length))
    plan = plan_in_numbers(section, run, shape, length, sequences)
    rate, notes = _rate(section, machine, tflop_per_s)
    needed = math.ceil(section.num_workers / machine.ranks_per_node)
    if needed > nodes:
        notes.append(f"needs {counted(needed, 'node')}, the plan has {nodes}")
    trained = None
    if epoch is not None and plan.tokens is not None:
        trained = times(epoch, plan.tokens / epoch.value)
    wall = _wall(trained, flop_per_token(shape[0], length, shape[1]), rate, section.num_workers)
    return TrainPlan(
        run=f"train.{run}",
        parameters=plan.size.total,
        ranks=section.num_workers,
        nodes=needed,
        tokens=trained,
        steps=plan.steps,
        flop=plan.flop,
        rank_bytes=plan.memory.total,
        rank_bytes_otherwise=_otherwise(shape, section, length),
        checkpointing=section.parallel.activation_checkpointing,
        usable_bytes=_usable(section, machine),
        tflop_per_s=rate,
        wall_hours=wall,
        rank_hours=None if wall is None else times(wall, section.num_workers),
        disk_bytes=_disk(plan.size, section),
        money=None if wall is None or price is None else times(wall, needed * price),
        notes=(*notes, *_jobs(wall, machine)),
    )


def _wall(
    tokens: Interval | None, flop_per_token: float, rate: float | None, ranks: int
) -> Interval | None:
    """Returns the hours of training on tokens at a rank's TFLOP/s; None where one is not known."""
    if tokens is None or rate is None:
        return None
    return times(tokens, flop_per_token / (rate * 1e12 * ranks * 3600))


def _jobs(wall: Interval | None, machine: Machine) -> list[str]:
    """Returns what to say of a run that is longer than the machine's longest job."""
    limit = machine.wall_limit_hours
    if wall is None or limit is None or wall.value <= limit:
        return []
    parts = math.ceil(wall.value / limit)
    return [f"{parts} jobs of {limit:g} h, each going on from a checkpoint"]


def _rate(
    section: Trainer, machine: Machine, given: float | None
) -> tuple[float | None, list[str]]:
    """Returns the TFLOP/s of a rank and what to say about it."""
    if section.use_gpu and machine.accelerators_per_node == 0:
        return None, ["needs accelerators (use_gpu: true); the machine has none"]
    if given is not None:
        return given, []
    if not section.use_gpu and machine.accelerators_per_node:
        return None, ["trains on CPUs by the recipe (use_gpu: false): give --tflops"]
    return machine.train_tflop_per_s, []


def _usable(section: Trainer, machine: Machine) -> float | None:
    if section.use_gpu:
        return machine.usable_bytes if machine.accelerators_per_node else 0.0
    workers = min(section.num_workers, int(machine.cpus_per_node)) or 1
    return machine.memory_gib_per_node * 2**30 * machine.usable_memory_share / workers


def _otherwise(shape: Shape, section: Trainer, length: int) -> int:
    """Returns the bytes of a rank with activation checkpointing switched over."""
    sizes, tied = shape
    parallel = section.parallel
    switched = parallel.model_copy(
        update={"activation_checkpointing": not parallel.activation_checkpointing}
    )
    return rank_memory(sizes, section.model_copy(update={"parallel": switched}), length, tied).total


def _disk(size: ModelSize, section: Trainer) -> int:
    # While one is written the older ones are still there.
    states = section.checkpoint.keep_last + 1
    return size.total * (STATE_BYTES * states + _BYTES[section.dtype])


def plan_merge(loaded: LoadedRecipe, shape: Shape, machine: Machine) -> MergePlan | None:
    """Returns the recipe's merge on a machine; None where it merges nothing."""
    section = loaded.recipe.merge
    if section is None:
        return None
    sizes, tied = shape
    size = model_size(sizes, tied)
    models = len({*([section.base] if section.base else []), *(m.model for m in section.models)})
    weights = ModelWeights(Path(), {}, _tensors(sizes, size))
    budget = estimate(weights, models, section.out_dtype, loaded.run_dir)
    moved = size.total * 2 * models + budget.out_bytes
    seconds = max(
        moved / machine.disk_bytes_per_s, size.total * MERGE_CPU_SECONDS / machine.cpu_speed
    )
    return MergePlan(
        size.total,
        models,
        budget.memory_bytes,
        budget.out_bytes,
        seconds / 3600,
        budget.memory_bytes <= machine.memory_gib_per_node * 2**30,
    )


def _tensors(shape: ModelShape, size: ModelSize) -> dict[str, tuple[int, ...]]:
    """Returns tensors with the model's size, the largest of them as large as its own."""
    largest = max(size.embedding, shape.hidden_size * shape.intermediate_size)
    full, rest = divmod(size.total, largest)
    shapes: dict[str, tuple[int, ...]] = {str(n): (largest,) for n in range(full)}
    return {**shapes, "rest": (rest,)}


def measured_rate(run_dir: Path, runs: Sequence[str]) -> dict[str, float]:
    """Returns the TFLOP/s of a rank that the training runs of a run's folder had, their median."""
    found = {}
    for run in runs:
        path = run_dir / "train" / run / "logs" / "speed.jsonl"
        if not path.is_file():
            continue
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        rates = [line["tflop_per_s"] for line in lines if "tflop_per_s" in line]
        if rates:
            found[run] = float(median(rates))
    return found


def runs_of(names: Sequence[str]) -> list[str]:
    """Returns the training runs among stage names, in order."""
    return [run for name in names if (run := name.removeprefix("train.")) in RUNS and run != name]
