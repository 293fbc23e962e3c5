"""A recipe's plan: measured data stages, modelled training and merge, and what was assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from core.graph import Pipeline
from core.manifest import Manifest
from core.plan import Interval, Machine, StageEstimate, estimate_stages
from core.plan.frames import LEVEL, REPLICATES
from core.plan.project import StagePlan, added, project, times
from core.recipe import LoadedRecipe
from core.stage import JobStage
from ray_jobs.plan_eval import CHARS_PER_TOKEN, EvalPlan, plan_eval
from ray_jobs.plan_eval import STAGE as EVAL
from ray_jobs.plan_models import (
    MERGE_CPU_SECONDS,
    MergePlan,
    TrainPlan,
    base_shape,
    measured_rate,
    plan_merge,
    plan_training,
    runs_of,
)
from ray_jobs.plan_sample import UNITS, Sample
from ray_jobs.train_runs import RUNS, sequence_length

_INGEST = "corpus.ingest"
_TOKENS = "tokens"
_SEQUENCES = "sequences"


@dataclass(frozen=True)
class Wanted:
    """What a plan is made for.

    Args:
        machine: that the recipe runs on.
        nodes: of it.
        price: of a node-hour; None: no money is told.
        tflop_per_s: of a training rank; None: measured, or the machine's.
    """

    machine: Machine
    nodes: int
    price: float | None = None
    tflop_per_s: float | None = None


@dataclass(frozen=True)
class WholePlan:
    """Everything that ``astromill plan`` says.

    Args:
        recipe: its name.
        wanted: what it is for.
        stages: measured.
        training: modelled.
        merge: modelled.
        evaluation: of multiple choice, modelled.
        unknown: stage to why nothing is said about it.
        assumptions: what the numbers rest on.
    """

    recipe: str
    wanted: Wanted
    stages: list[StagePlan]
    training: list[TrainPlan]
    merge: MergePlan | None
    evaluation: EvalPlan | None = None
    unknown: dict[str, str] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)

    @property
    def wall_hours(self) -> Interval:
        """Of all that is known, one stage after another."""
        hours = [s.wall_hours for s in self.stages]
        hours += [t.wall_hours for t in self.training if t.wall_hours is not None]
        if self.merge is not None:
            hours.append(Interval.exact(self.merge.wall_hours))
        if self.evaluation is not None and self.evaluation.wall_hours is not None:
            hours.append(Interval.exact(self.evaluation.wall_hours))
        return added(hours)

    @property
    def bytes(self) -> Interval:
        """On disk, of all that is known."""
        sizes = [s.bytes for s in self.stages]
        sizes += [Interval.exact(t.disk_bytes) for t in self.training]
        if self.merge is not None:
            sizes.append(Interval.exact(self.merge.out_bytes))
        return added(sizes)

    @property
    def money(self) -> Interval | None:
        """Node-hours at the price, of all that is known."""
        price = self.wanted.price
        if price is None:
            return None
        spent = [s.money for s in self.stages if s.money is not None]
        spent += [t.money for t in self.training if t.money is not None]
        if self.merge is not None:
            spent.append(Interval.exact(self.merge.wall_hours * price))
        if self.evaluation is not None and self.evaluation.wall_hours is not None:
            cost = self.evaluation.wall_hours * price * self.wanted.nodes
            spent.append(Interval.exact(cost))
        return added(spent)

    @property
    def model_cost(self) -> dict[str, Interval]:
        """Of language models' tokens, by currency."""
        found: dict[str, list[Interval]] = {}
        for stage in self.stages:
            for currency, value in stage.model_cost.items():
                found.setdefault(currency, []).append(value)
        return {currency: added(values) for currency, values in found.items()}


def plan_of_sample(loaded: LoadedRecipe, sample: Sample, wanted: Wanted) -> WholePlan:
    """Returns the plan of a recipe by a finished sample."""
    estimates = estimate_stages(sample.pipeline, sample.names)
    said = [
        f"a sample of {sample.share:.3g} of the units of every source, in shards of "
        f"{sample.documents_per_shard} documents (at least {UNITS} units where there are so many); "
        f"intervals are the middle {LEVEL:.0%} of {REPLICATES} bootstrap draws of the units",
        "time is as measured in the workers here, divided by the machine's cpu_speed; what a "
        "worker loads at its first unit is in it, so a short sample says too much; starting Ray "
        "and actors' models is not",
        "'scaled' stages (dedup, mixtures) grow as the rows that they read; a sample finds fewer "
        "duplicates than the whole has, since both copies must be in it",
    ]
    train = loaded.recipe.train
    if train is not None and train.base.tiny is not None:
        said.append("the tokenizer is learned from the sample, so token counts shift a little")
    if "train.scorer" in sample.names:
        said.append("the perplexity scorer is trained on the sample; its threshold is a quantile")
    return _whole(loaded, sample.pipeline, estimates, wanted, said, dict(sample.left_out), {})


def plan_of_run(loaded: LoadedRecipe, run: Pipeline, wanted: Wanted) -> WholePlan:
    """Returns the plan of a recipe by an earlier run of it.

    Args:
        loaded: the recipe.
        run: its stages over the run's folder.
        wanted: what the plan is for.
    """
    estimates = estimate_stages(run, set(run.stages))
    rates = measured_rate(run.ctx.run_dir, runs_of(list(run.stages)))
    said = [
        "rows, bytes and seconds are those of the earlier run, whole: no interval",
        "training goes as fast per rank as in that run, where it trained and no --tflops is given",
    ]
    left = {
        name: "the earlier run has not finished it"
        for name in run.stages
        if Manifest.load(run.ctx.folder(name)) is None
    }
    return _whole(loaded, run, estimates, wanted, said, left, rates)


def plan_of_numbers(
    loaded: LoadedRecipe, pipeline: Pipeline, wanted: Wanted, why: str
) -> WholePlan:
    """Returns the plan of a recipe by its own numbers alone.

    Args:
        loaded: the recipe.
        pipeline: its stages.
        wanted: what the plan is for.
        why: the data stages are not measured.
    """
    left = {name: why for name in pipeline.stages}
    return _whole(loaded, pipeline, [], wanted, [], left, {})


def _whole(
    loaded: LoadedRecipe,
    pipeline: Pipeline,
    estimates: list[StageEstimate],
    wanted: Wanted,
    said: list[str],
    left: dict[str, str],
    rates: dict[str, float],
) -> WholePlan:
    runs = runs_of(list(pipeline.stages))
    modelled = {f"train.{run}" for run in runs}
    by_name = {estimate.stage: estimate for estimate in estimates}
    stages = [
        _project(loaded, pipeline, estimate, by_name, wanted)
        for estimate in estimates
        if estimate.stage not in modelled
    ]
    shape = base_shape(loaded, pipeline.ctx)
    training: list[TrainPlan] = []
    merge = evaluation = None
    if shape is not None:
        training = [
            plan_training(
                loaded,
                run,
                shape,
                _epoch_tokens(loaded, run, by_name),
                wanted.machine,
                wanted.nodes,
                wanted.price,
                wanted.tflop_per_s or rates.get(run),
            )
            for run in runs
        ]
        if "merge.merged" not in by_name:
            merge = plan_merge(loaded, shape, wanted.machine)
        if EVAL not in by_name:
            evaluation = plan_eval(
                loaded, pipeline.ctx, shape, wanted.machine, wanted.nodes, wanted.tflop_per_s
            )
    done = {s.estimate.stage for s in stages} | (modelled if shape is not None else set())
    done |= {"merge.merged"} if merge is not None else set()
    done |= {EVAL} if evaluation is not None else set()
    unknown = {
        name: left.get(name, "neither sampled nor modelled: take an earlier run (--from-run)")
        for name in pipeline.stages
        if name not in done
    }
    said = [*said, *_assumed(wanted, training, merge, evaluation)]
    return WholePlan(loaded.recipe.name, wanted, stages, training, merge, evaluation, unknown, said)


def _project(
    loaded: LoadedRecipe,
    pipeline: Pipeline,
    estimate: StageEstimate,
    by_name: dict[str, StageEstimate],
    wanted: Wanted,
) -> StagePlan:
    stage = pipeline.stages[estimate.stage]
    shards = max(1, estimate.measured_units)
    if isinstance(stage, JobStage):
        shards = 1
    elif estimate.how == "sample" and _INGEST in by_name:
        documents = by_name[_INGEST].rows_out.value
        shards = max(1, math.ceil(documents / loaded.recipe.corpus.documents_per_shard))
    elif estimate.how == "scaled":
        shards = max(1, math.ceil(shards * estimate.factor))
    return project(estimate, stage, wanted.machine, wanted.nodes, shards, wanted.price)


def _epoch_tokens(
    loaded: LoadedRecipe, run: str, by_name: dict[str, StageEstimate]
) -> Interval | None:
    """Returns the tokens of an epoch of a training run; None where its data is not known."""
    data = by_name.get(RUNS[run][0])
    if data is None or _TOKENS not in data.metrics:
        return None
    tokens = data.metrics[_TOKENS]
    if data.how == "whole" and _SEQUENCES in data.metrics:
        # The very data: with the padding, which a sample's smaller shards have more of.
        tokens = times(data.metrics[_SEQUENCES], sequence_length(loaded, run))
    replay = loaded.recipe.corpus.replay
    if run == "cpt" and replay is not None:
        tokens = times(tokens, 1 / (1 - replay.share))
    return tokens if tokens.value > 0 else None


def _assumed(
    wanted: Wanted,
    training: list[TrainPlan],
    merge: MergePlan | None,
    evaluation: EvalPlan | None,
) -> list[str]:
    machine = wanted.machine
    said = [
        "every stage holds all nodes of the plan until it ends, stages run one after another; "
        "training holds the nodes that its ranks need",
        "a stage's wall time is its workers' time over the workers that fit, in whole rounds of "
        "equal shards",
    ]
    if training:
        rates = sorted({t.tflop_per_s for t in training if t.tflop_per_s is not None})
        shown = ", ".join(f"{rate:.3g}" for rate in rates) or "no"
        said += [
            f"training: {shown} TFLOP/s a rank (model arithmetic: 6 per multiplied parameter and "
            "token, and attention; recomputation not counted), no time for start-up, checkpoints "
            "and lost nodes; tokens of the recipe's plan_tokens where the data is not measured; "
            "of sampled data without the padding at the ends of shards",
            "memory of a rank: train/budget.py (weights, gradients, Adam, activations, logits, "
            f"2 GiB of overhead) against {machine.usable_memory_share:.0%} of the accelerator's",
            "disk of training: the checkpoints that stay, one being written (12 bytes a "
            "parameter), and the model",
        ]
    if merge is not None:
        said.append(
            f"merge: the larger of {MERGE_CPU_SECONDS:.2g} CPU-seconds a parameter and moving the "
            f"weights at {machine.disk_bytes_per_s / 1e9:g} GB/s, on one node"
        )
    if evaluation is not None:
        said.append(
            f"eval.mcq: {CHARS_PER_TOKEN:g} characters a token, every model as large as the base, "
            "2 operations a parameter and token read, at the speed of training; writing answers "
            "(modes json and reasoning) and starting engines are not in its time"
        )
    if wanted.price is not None:
        said.append(f"money: {wanted.price:g} {machine.currency} per node-hour")
    said.append(
        f"machine {machine.name}: {'; '.join(machine.sources) or 'its file gives no source'}"
    )
    return said
