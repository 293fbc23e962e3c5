"""Commands of the train group that do more than run a stage: ``--dry-run`` prints the plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.counted import counted
from core.errors import UsageError
from core.model_folder import require_model
from core.recipe import LoadedRecipe, load_recipe
from core.recipe.train import Trainer
from core.stage import StageContext
from ray_jobs.execute import execute
from ray_jobs.options import Address, Overrides, RecipeFile, Workers, example
from ray_jobs.pipeline import context_of
from ray_jobs.train_runs import (
    RUNS,
    Shape,
    model_found,
    model_shape,
    plan_in_numbers,
    resolved_section,
    run_section,
    sequence_length,
    sequences_made,
)
from train.budget import Plan, shape_of

if TYPE_CHECKING:
    from train.preflight import Preflight

FIGURE_RUNS = ("cpt", "sft")
"""Runs of a figure, in order: what leads to the model."""

_GIB = 2**30


def add_train_commands(group: typer.Typer) -> None:
    """Adds a command for every training run."""
    for run, (_, text) in RUNS.items():
        shown = example(
            f"astromill train {run} recipes/demo.yaml",
            f"astromill train {run} recipes/demo.yaml --dry-run",
        )
        group.command(run, epilog=shown, help=_help(run, text))(_command(run))
    shown = example(
        "astromill train preflight recipes/demo.yaml --run cpt",
        "astromill train preflight recipes/astrosage-8b.yaml --run cpt --address auto",
    )
    group.command("preflight", epilog=shown)(_preflight)
    group.command("figure", epilog=example("astromill train figure runs/demo --out training.svg"))(
        _figure
    )


def _help(run: str, text: str) -> str:
    return (
        f"{text} Runs stage `train.{run}` alone; the stages it reads must be up to date.\n\n"
        "With --dry-run it starts nothing: it prints memory of a rank, steps, tokens and the "
        "engine's configuration, from the data where it is there and else from the recipe's "
        "`plan_tokens` and `train.base.shape`."
    )


def _command(run: str) -> Any:
    def command(
        recipe: RecipeFile,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Print the plan; start nothing.")
        ] = False,
        set_: Overrides = None,
        workers: Workers = None,
        address: Address = None,
    ) -> None:
        loaded = load_recipe(recipe, set_ or [])
        if dry_run:
            print_plan(loaded, run, Console(highlight=False))
        else:
            name = f"train.{run}"
            execute(loaded, lambda p: p.select(only=name), address=address, workers=workers)

    return command


def print_plan(loaded: LoadedRecipe, run: str, console: Console) -> None:
    """Prints a training run's plan.

    Raises:
        RecipeError: the batch does not divide.
        UsageError: the recipe has no such run, or nothing says how large the model is.
    """
    section, length = run_section(loaded, run), sequence_length(loaded, run)
    ctx = context_of(loaded)
    sequences = sequences_made(ctx, run)
    shape = _shape(loaded, section, ctx)
    plan = plan_in_numbers(section, run, shape, length, sequences)
    resolved = resolved_section(section, run, length)
    console.print(_table(plan, resolved, run, length, sequences is not None))
    console.print("DeepSpeed configuration:")
    console.print_json(json.dumps(_engine_config(resolved, plan)))


def _shape(loaded: LoadedRecipe, section: Trainer, ctx: StageContext) -> Shape:
    train = loaded.recipe.train
    assert train is not None
    shape = model_shape(train, section.init, ctx)
    if shape is None:
        raise UsageError(
            "nothing says how large the model is",
            where="key train.base",
            remedy=f"put the model at {train.base.path}, or give its sizes as train.base.shape",
        )
    return shape


def _table(plan: Plan, section: Trainer, run: str, length: int, from_data: bool) -> Table:
    table = Table("", "", title=f"train.{run}, planned", show_header=False, title_justify="left")
    memory, parallel = plan.memory, section.parallel
    spread = f"data {plan.data_parallel_size}"
    if parallel.engine == "pipeline":
        spread = (
            f"tensor {parallel.tensor_parallel_size} x pipeline "
            f"{parallel.pipeline_parallel_size} x {spread}"
        )
    rows = [
        ("parameters", f"{plan.size.total:,}"),
        ("workers", f"{section.num_workers:,} ({spread}), engine {parallel.engine}"),
        (
            "batch",
            f"{plan.batch_tokens:,} tokens = {plan.batch_sequences:,} sequences of {length:,} = "
            f"micro batch {section.micro_batch_size} x accumulation {plan.accumulation} x data "
            f"{plan.data_parallel_size}",
        ),
        ("learning rate", f"{section.learning_rate:.4g}, {_schedule(section, plan)}"),
    ]
    if plan.steps is None or plan.tokens is None or plan.flop is None:
        rows.append(("steps", f"not known: make the data, or give train.{run}.plan_tokens"))
    else:
        source = "counted in the data" if from_data else "by plan_tokens"
        rows += [
            ("steps", f"{plan.steps:,} in {counted(section.epochs, 'epoch')} ({source})"),
            ("tokens", f"{plan.tokens:,}"),
            ("arithmetic", f"{plan.flop:.3g} FLOP, without recomputation"),
        ]
    parts = (
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("activations", memory.activations),
        ("logits", memory.logits),
        ("overhead", memory.overhead),
    )
    rows.append(("memory of a rank", f"{memory.total / _GIB:.1f} GiB at its peak"))
    rows += [(f"  {name}", f"{size / _GIB:.2f} GiB") for name, size in parts]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _schedule(section: Trainer, plan: Plan) -> str:
    schedule = section.schedule
    warmup = counted(schedule.warmup_steps, "step")
    if schedule.warmup_epochs is not None:
        warmup = counted(schedule.warmup_epochs, "epoch")
        if plan.steps_per_epoch is not None:
            steps = round(schedule.warmup_epochs * plan.steps_per_epoch)
            warmup += f" ({counted(steps, 'step')})"
    shape = "constant"
    if schedule.kind == "cosine":
        epochs = schedule.decay_epochs
        over = "" if epochs is None else f" over the last {counted(epochs, 'epoch')}"
        shape = f"cosine{over} to {schedule.final_fraction:.0%}"
    return f"warmup {warmup}, then {shape}"


def _engine_config(section: Trainer, plan: Plan) -> dict[str, Any]:
    from train.zero import zero_config

    return zero_config(section, plan.size.total)


def _preflight(
    recipe: RecipeFile,
    run: Annotated[str, typer.Option(metavar="RUN", help=f"One of {', '.join(RUNS)}.")] = "cpt",
    set_: Overrides = None,
    address: Address = None,
) -> None:
    """Try a training run on its workers before hours are allocated: exit code 1 where it fails.

    Compares the memory model with the machines, starts the engine, does two steps of the real
    shape on random tokens, writes a checkpoint and reads it back, and looks at the disk. Needs the
    starting model, not the data. Leaves nothing behind.
    """
    loaded = load_recipe(recipe, set_ or [])
    if run not in RUNS:
        raise UsageError(
            f"there is no run '{run}'", where="option --run", remedy=f"one of {', '.join(RUNS)}"
        )
    found, section = run_preflight(loaded, run, address)
    Console(highlight=False).print(_preflight_table(found, run, section))


def run_preflight(
    loaded: LoadedRecipe, run: str, address: str | None = None
) -> tuple[Preflight, Trainer]:
    """Tries a run; returns what was found, and its section with the batch in sequences.

    Raises:
        RecipeError: the batch does not divide.
        UsageError: the recipe has no such run.
        AstromillError: something that the run needs fails; the message says what.
    """
    from core.session import ray_session
    from train.preflight import preflight
    from train.stage import TrainStage, check_cluster

    section, length = run_section(loaded, run), sequence_length(loaded, run)
    train = loaded.recipe.train
    assert train is not None
    ctx = context_of(loaded)
    stage = TrainStage(f"train.{run}", section, RUNS[run][0], section.init)
    model = model_found(train, section.init, ctx) or Path(ctx.model_path(section.init))
    require_model(model, f"{stage.name}.init")
    plan = plan_in_numbers(section, run, shape_of(model), length, sequences_made(ctx, run))
    resolved = resolved_section(section, run, length)
    spec = replace(stage.spec(ctx, Path(), resolved, length), model=str(model))
    with ray_session(address or loaded.recipe.cluster.address):
        check_cluster(resolved, stage.name)
        found = preflight(spec, resolved, plan.size.total, plan.steps, ctx.run_dir)
    return found, resolved


def _preflight_table(found: Preflight, run: str, section: Trainer) -> Table:
    table = Table("", "", title=f"train.{run}, tried", show_header=False, title_justify="left")
    free = "not known" if found.free_bytes is None else f"{found.free_bytes / _GIB:.1f} GiB"
    rows = [(name, f"{seconds:.2f} s") for name, seconds in found.seconds.items()]
    rows += [
        ("loss of random tokens", f"{found.loss:.3f}; ln(vocabulary) {found.expected_loss:.3f}"),
        (
            "memory of a worker",
            f"{found.planned_bytes / _GIB:.2f} GiB by the model, {found.peak_bytes / _GIB:.2f} GiB "
            f"measured, {free} there",
        ),
        (
            "disk",
            f"{found.kept_bytes / _GIB:.2f} GiB at the fullest, {found.disk_bytes / _GIB:.1f} GiB "
            f"free; a checkpoint {found.checkpoint_bytes / _GIB:.2f} GiB",
        ),
    ]
    if found.run_seconds is None:
        rows.append(
            ("time of the run", f"not known: make the data, or give train.{run}.plan_tokens")
        )
    else:
        rows.append(
            (
                "time of the run",
                f"{found.run_seconds / 3600:.2f} h: {counted(found.steps or 0, 'step')} of "
                f"{found.step_seconds:.2f} s on {section.num_workers:,} workers",
            )
        )
    for name, value in rows:
        table.add_row(name, value)
    return table


def _figure(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PNG or SVG; default: training.png in RUN.")
    ] = None,
) -> None:
    """Draw loss, learning rate and update norm of all training runs, as in the papers' figures."""
    from train.figures import draw_runs, read_run
    from train.spec import METRICS_NAME

    found = [name for name in FIGURE_RUNS if (run / "train" / name / METRICS_NAME).is_file()]
    if not found:
        raise UsageError(
            "there is no training run in the folder",
            where=str(run),
            remedy="give the folder of a run, such as runs/demo, after it has trained",
        )
    target = out or run / "training.png"
    if target.suffix not in (".png", ".svg"):
        raise UsageError(
            f"a figure cannot be a '{target.suffix}' file",
            where="option --out",
            remedy="name a .png or .svg file",
        )
    draw_runs([read_run(run / "train" / name / METRICS_NAME, name) for name in found], target)
    Console(highlight=False).print(f"{', '.join(found)}: {target}")
