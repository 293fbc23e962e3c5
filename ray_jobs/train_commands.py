"""Commands of the train group that do more than run a stage: ``--dry-run`` prints the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import RecipeError, UsageError
from core.manifest import Manifest
from core.model_folder import read_config
from core.recipe import LoadedRecipe, load_recipe
from core.recipe.train import ModelShape, Trainer
from core.stage import StageContext
from ray_jobs.execute import execute
from ray_jobs.options import Address, Overrides, RecipeFile, Workers, example
from train.budget import Plan, plan_run

RUNS = {
    "scorer": ("corpus.scorer_tokens", "Train the small perplexity scorer."),
    "cpt": ("corpus.tokens", "Continue pretraining on the corpus."),
    "sft": ("synth.sft_tokens", "Fine-tune on the mixture of conversations."),
    "instruct": ("synth.instruct_tokens", "Fine-tune on general instructions."),
}
"""Training runs: the stage whose sequences each one reads, and what its command says."""

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
    ctx = StageContext(run_dir=loaded.run_dir, root=loaded.root, seed=loaded.recipe.seed)
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
    if recipe.train is None or (run in ("sft", "instruct") and recipe.synth is None):
        raise UsageError(
            f"the recipe has no run train.{run}",
            where="command line",
            remedy="add the sections 'train' and, for fine-tuning, 'synth'",
        )
    length = recipe.corpus.tokens.sequence_length
    if run in ("sft", "instruct") and recipe.synth is not None:
        length = recipe.synth.chat.sequence_length
    section: Trainer = getattr(recipe.train, run)
    return section, length


def _shape(loaded: LoadedRecipe, section: Trainer, ctx: StageContext) -> tuple[ModelShape, bool]:
    """Returns the model's sizes, by its files or by the recipe, and whether its head is tied."""
    train = loaded.recipe.train
    assert train is not None
    folders = [Path(ctx.model_path(section.init))]
    if train.base.path:
        folders.append(ctx.path(train.base.path))
    for folder in folders:
        if (folder / "config.json").is_file():
            config = read_config(folder, str(folder))
            known = {name: config[name] for name in ModelShape.model_fields if name in config}
            return ModelShape.model_validate(known), bool(config.get("tie_word_embeddings"))
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
