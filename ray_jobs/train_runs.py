"""The training runs of a recipe: which there are, what they start from and read, their plan."""

from __future__ import annotations

from pathlib import Path

from core.errors import RecipeError, UsageError
from core.manifest import Manifest
from core.model_folder import CONFIG_NAME
from core.recipe import LoadedRecipe
from core.recipe.train import ModelShape, Train, Trainer
from core.stage import StageContext
from train.budget import Plan, plan_run, shape_of

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

Shape = tuple[ModelShape, bool]
"""A model's sizes, and whether its head is tied to its embeddings."""


def run_section(loaded: LoadedRecipe, run: str) -> Trainer:
    """Returns what a recipe says of a training run.

    Raises:
        UsageError: the recipe has no such run.
    """
    recipe = loaded.recipe
    if recipe.train is None or (run in CHAT_RUNS and recipe.synth is None):
        raise UsageError(
            f"the recipe has no run train.{run}",
            where="command line",
            remedy="add the sections 'train' and, for fine-tuning, 'synth'",
        )
    section: Trainer = getattr(recipe.train, run)
    return section


def sequence_length(loaded: LoadedRecipe, run: str) -> int:
    """Returns the tokens of a sequence of a training run."""
    synth = loaded.recipe.synth
    if run in CHAT_RUNS and synth is not None:
        return synth.chat.sequence_length
    return loaded.recipe.corpus.tokens.sequence_length


def model_found(train: Train, init: str, ctx: StageContext) -> Path | None:
    """Returns the folder of the model that a run starts from; of a stage still to run, the base's.

    Args:
        train: of the recipe.
        init: model reference of the run.
        ctx: where its files are.
    """
    folders = [Path(ctx.model_path(init))]
    if train.base.path:
        folders.append(ctx.path(train.base.path))
    return next((folder for folder in folders if (folder / CONFIG_NAME).is_file()), None)


def model_shape(train: Train, init: str, ctx: StageContext) -> Shape | None:
    """Returns a starting model's sizes, by its files or by the recipe; None where nothing says.

    Args:
        train: of the recipe.
        init: model reference of the run.
        ctx: where its files are.
    """
    folder = model_found(train, init, ctx)
    if folder is not None:
        return shape_of(folder)
    if train.base.tiny is not None:
        return train.base.tiny, True
    return (train.base.shape, False) if train.base.shape is not None else None


def sequences_made(ctx: StageContext, run: str) -> int | None:
    """Returns the sequences of an epoch of a run, where its data has been made."""
    manifest = Manifest.load(ctx.folder(RUNS[run][0]))
    if manifest is None:
        return None
    return sum(file.rows or 0 for file in manifest.shards) or None


def plan_in_numbers(
    section: Trainer, run: str, shape: Shape, length: int, sequences: int | None
) -> Plan:
    """Returns :func:`train.budget.plan_run` of a recipe's run.

    Args:
        section: of the run.
        run: its name: ``cpt``.
        shape: of its model.
        length: tokens of a sequence.
        sequences: of one epoch; None: by the section's ``plan_tokens``, where it has them.

    Raises:
        RecipeError: the batch does not divide.
    """
    sizes, tied = shape
    try:
        return plan_run(sizes, section, length, sequences, tied)
    except ValueError as error:
        raise not_divided(run, error) from error


def resolved_section(section: Trainer, run: str, length: int) -> Trainer:
    """Returns a run's section with its batch in sequences of a length in tokens.

    Raises:
        RecipeError: the batch does not divide.
    """
    try:
        return section.resolved(length)
    except ValueError as error:
        raise not_divided(run, error) from error


def not_divided(run: str, error: ValueError) -> RecipeError:
    """Returns the error of a run whose numbers do not divide."""
    return RecipeError(str(error), where=f"key train.{run}", remedy="choose numbers that divide")
