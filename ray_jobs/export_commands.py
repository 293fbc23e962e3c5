"""The command ``astromill train export``: a checkpoint as a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from core.errors import InputError, UsageError
from core.model_folder import CONFIG_NAME, require_model
from ray_jobs.options import example

_CHECKPOINTS = "checkpoints"
_DONE = "done"


def add_export_commands(group: typer.Typer) -> None:
    """Adds ``export`` to the train group."""
    group.command(
        "export",
        epilog=example(
            "astromill train export runs/demo/checkpoints/train.cpt --out exported",
            "astromill train export runs/demo --run cpt --step 120 --out exported",
            "astromill train export .../step-00000120 --model models/Llama-3.1-8B --out exported",
        ),
    )(_export)


def _export(
    place: Annotated[
        Path,
        typer.Argument(metavar="PLACE", help="A checkpoint, a run's checkpoints, or the run."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Model folder that is made.")],
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where PLACE is a run: cpt, sft, ...")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="Which checkpoint; default: the last.")
    ] = None,
    dtype: Annotated[
        Literal["bfloat16", "float32"],
        typer.Option(help="Type of the weights; a checkpoint holds them in float32."),
    ] = "bfloat16",
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Model to take config and tokenizer from; default: the run's."
        ),
    ] = None,
) -> None:
    """Write a checkpoint's weights as a model that transformers and vLLM load."""
    from train.checkpoint.export import export_model

    checkpoint = find_checkpoint(place, run, step)
    if out.exists():
        raise UsageError(
            "the folder is there already", where=str(out), remedy="name another one: --out FOLDER"
        )
    source = model or find_start(checkpoint)
    require_model(source, "--model")
    export_model(checkpoint, source, out, dtype)
    Console(highlight=False, soft_wrap=True).print(
        f"{checkpoint.name}, weights in {dtype}: {out}", markup=False
    )


def find_checkpoint(place: Path, run: str | None, step: int | None) -> Path:
    """Returns the folder of one complete checkpoint.

    Args:
        place: a checkpoint, the folder of a run's checkpoints, or a run.
        run: name of the training run, where ``place`` is a run: ``cpt`` or ``train.cpt``.
        step: of the checkpoint; None: the last.

    Raises:
        InputError: there is none, or it is not complete; the error lists the steps there are.
        UsageError: the run has checkpoints of several training runs.
    """
    from train.checkpoint.format import Marker, step_of

    if step_of(place) is not None:
        if Marker.load(place) is None:
            raise _incomplete(place, _steps(place.parent))
        if step not in (None, step_of(place)):
            raise UsageError(
                f"this is the checkpoint of step {step_of(place)}",
                where=str(place),
                remedy="leave --step out, or name the folder of all checkpoints",
            )
        return place
    folder = _of_run(place, run)
    found = _steps(folder)
    if not found:
        raise InputError(
            "there is no complete checkpoint",
            where=str(folder),
            remedy="a finished run keeps those that its recipe says: checkpoint.keep_when_done, "
            "keep_every_steps; its model is in train/NAME/model",
        )
    if step is not None and step not in found:
        for parent in (folder, folder / _DONE):
            if any(step_of(path) == step for path in parent.glob("step-*")):
                raise _incomplete(parent / f"step-{step:08d}", found)
        raise InputError(
            f"there is no checkpoint of step {step}",
            where=str(folder),
            remedy=f"steps there are: {_listed(found)}",
        )
    return found[max(found) if step is None else step]


def find_start(checkpoint: Path) -> Path:
    """Returns the model that a run's checkpoint has its config and tokenizer from.

    It is the run's own model where the run has ended, else the one that it started from.

    Raises:
        UsageError: the checkpoint does not lie in a run.
    """
    parts = checkpoint.absolute().parts
    if _CHECKPOINTS in parts:
        at = len(parts) - 1 - parts[::-1].index(_CHECKPOINTS)
        run = Path(*parts[:at])
        stage = parts[at + 1]
        for name in (stage, "train.base"):
            folder = run.joinpath(*name.split(".")) / "model"
            if (folder / CONFIG_NAME).is_file():
                return folder
    raise UsageError(
        "which model the run started from cannot be told from here",
        where=str(checkpoint),
        remedy="name it: --model FOLDER; config and tokenizer are taken from it",
    )


def _of_run(place: Path, run: str | None) -> Path:
    """Returns the folder of one training run's checkpoints."""
    folder = place / _CHECKPOINTS
    if not folder.is_dir():
        if not place.is_dir():
            raise InputError(
                "there is no such folder", where=str(place), remedy="name a run or a checkpoint"
            )
        return place
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    wanted = None if run is None else run if run.startswith("train.") else f"train.{run}"
    if wanted is None and len(names) == 1:
        return folder / names[0]
    if wanted in names:
        return folder / wanted
    raise UsageError(
        "which training run is meant is not said" if wanted is None else f"no run '{wanted}'",
        where=str(folder),
        remedy=f"--run with one of: {', '.join(names) or 'none has checkpoints'}",
    )


def _steps(folder: Path) -> dict[int, Path]:
    """Returns the complete checkpoints by step, those kept for good among them."""
    from train.checkpoint.format import Marker, step_of

    found: dict[int, Path] = {}
    for parent in (folder / _DONE, folder):
        for path in sorted(parent.glob("step-*")):
            step = step_of(path)
            if step is not None and Marker.load(path) is not None:
                found[step] = path
    return found


def _incomplete(place: Path, complete: dict[int, Path]) -> InputError:
    return InputError(
        "this checkpoint is not complete: it has no readable checkpoint.json",
        where=str(place),
        remedy=f"complete ones there are of the steps: {_listed(complete)}",
    )


def _listed(steps: dict[int, Path]) -> str:
    return ", ".join(str(step) for step in sorted(steps)) or "none"
