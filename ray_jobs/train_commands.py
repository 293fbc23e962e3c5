"""Commands of the train group that do more than run a stage: ``--dry-run`` prints the plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import RecipeError, UsageError
from core.manifest import Manifest
from core.model_folder import CONFIG_NAME, require_model
from core.recipe import LoadedRecipe, load_recipe
from core.recipe.train import ModelShape, Trainer
from core.stage import StageContext
from ray_jobs.execute import execute
from ray_jobs.options import Address, Overrides, RecipeFile, Workers, example
from train.budget import Plan, plan_run, shape_of

if TYPE_CHECKING:
    from train.preflight import Preflight

RUNS = {
    "scorer": ("corpus.scorer_tokens", "Train the small perplexity scorer."),
    "cpt": ("corpus.tokens", "Continue pretraining on the corpus."),
    "sft": ("synth.sft_tokens", "Fine-tune on the mixture of conversations."),
    "instruct": ("synth.instruct_tokens", "Fine-tune on general instructions."),
    "control": ("synth.control_tokens", "Fine-tune on unrelated questions: the control."),
}
"""Training runs: the stage whose sequences each one reads, and what its command says."""

CHAT_RUNS = ("sft", "instruct", "control")
"""Runs on conversations."""

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
    section, sequence_length = _section(loaded, run)
    ctx = StageContext(loaded.run_dir, loaded.root, loaded.recipe.seed, loaded.remote)
    shape, tied = _shape(loaded, section, ctx)
    sequences = _sequences(ctx, RUNS[run][0])
    try:
        plan = plan_run(shape, section, sequence_length, sequences, tied)
    except ValueError as error:
        raise RecipeError(
            str(error), where=f"key train.{run}", remedy="choose numbers that divide"
        ) from error
    resolved = section.resolved(sequence_length)
    console.print(_table(plan, resolved, run, sequence_length, sequences is not None))
    console.print("DeepSpeed configuration:")
    console.print_json(json.dumps(_engine_config(resolved, plan)))


def _section(loaded: LoadedRecipe, run: str) -> tuple[Trainer, int]:
    recipe = loaded.recipe
    if recipe.train is None or (run in CHAT_RUNS and recipe.synth is None):
        raise UsageError(
            f"the recipe has no run train.{run}",
            where="command line",
            remedy="add the sections 'train' and, for fine-tuning, 'synth'",
        )
    length = recipe.corpus.tokens.sequence_length
    if run in CHAT_RUNS and recipe.synth is not None:
        length = recipe.synth.chat.sequence_length
    section: Trainer = getattr(recipe.train, run)
    return section, length


def _model(loaded: LoadedRecipe, section: Trainer, ctx: StageContext) -> Path | None:
    """Returns the folder of the run's starting model; of a stage still to run, the base's."""
    train = loaded.recipe.train
    assert train is not None
    folders = [Path(ctx.model_path(section.init))]
    if train.base.path:
        folders.append(ctx.path(train.base.path))
    return next((folder for folder in folders if (folder / CONFIG_NAME).is_file()), None)


def _shape(loaded: LoadedRecipe, section: Trainer, ctx: StageContext) -> tuple[ModelShape, bool]:
    """Returns the model's sizes, by its files or by the recipe, and whether its head is tied."""
    train = loaded.recipe.train
    assert train is not None
    folder = _model(loaded, section, ctx)
    if folder is not None:
        return shape_of(folder)
    if train.base.tiny is not None:
        return train.base.tiny, True
    if train.base.shape is not None:
        return train.base.shape, False
    raise UsageError(
        "nothing says how large the model is",
        where="key train.base",
        remedy=f"put the model at {train.base.path}, or give its sizes as train.base.shape",
    )


def _sequences(ctx: StageContext, stage: str) -> int | None:
    """Returns the sequences of an epoch, where the data has been made."""
    manifest = Manifest.load(ctx.folder(stage))
    if manifest is None:
        return None
    return sum(file.rows or 0 for file in manifest.shards) or None


def _table(plan: Plan, section: Trainer, run: str, length: int, counted: bool) -> Table:
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
        source = "counted in the data" if counted else "by plan_tokens"
        rows += [
            ("steps", f"{plan.steps:,} in {section.epochs:g} epochs ({source})"),
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
    warmup = f"{schedule.warmup_steps} steps"
    if schedule.warmup_epochs is not None:
        warmup = f"{schedule.warmup_epochs:g} epochs"
        if plan.steps_per_epoch is not None:
            warmup += f" ({round(schedule.warmup_epochs * plan.steps_per_epoch)} steps)"
    shape = "constant"
    if schedule.kind == "cosine":
        over = "" if schedule.decay_epochs is None else f" over the last {schedule.decay_epochs:g}"
        shape = f"cosine{over}{' epochs' if over else ''} to {schedule.final_fraction:.0%}"
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
        AstromillError: something that the run needs fails; the message says what.
    """
    from core.session import ray_session
    from train.preflight import preflight
    from train.stage import TrainStage, check_cluster

    section, length = _section(loaded, run)
    ctx = StageContext(loaded.run_dir, loaded.root, loaded.recipe.seed, loaded.remote)
    stage = TrainStage(f"train.{run}", section, RUNS[run][0], section.init)
    model = _model(loaded, section, ctx) or Path(ctx.model_path(section.init))
    require_model(model, f"{stage.name}.init")
    shape, tied = shape_of(model)
    try:
        plan = plan_run(shape, section, length, _sequences(ctx, RUNS[run][0]), tied)
        resolved = section.resolved(length)
    except ValueError as error:
        raise RecipeError(
            str(error), where=f"key train.{run}", remedy="choose numbers that divide"
        ) from error
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
                f"{found.run_seconds / 3600:.2f} h: {found.steps:,} steps of "
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
