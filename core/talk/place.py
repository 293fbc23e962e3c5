"""Where the model is that a person names: a folder, a stage's folder, or a stage of a recipe."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError, UsageError
from core.model_folder import CONFIG_NAME, require_model
from core.recipe import LoadedRecipe
from core.stage import STAGE_PREFIXES, StageContext


def model_folder(name: str, loaded: LoadedRecipe | None = None) -> Path:
    """Returns the folder of a model.

    Args:
        name: a model's folder, a stage's folder that holds ``model/``, or with a recipe the name of
            a stage such as ``merge.merged``.
        loaded: the recipe that a stage is of.

    Raises:
        UsageError: a stage is named without its recipe.
        InputError: there is no model, or one that cannot be loaded safely.
    """
    given = Path(name)
    if loaded is not None and not given.is_dir():
        ctx = StageContext(loaded.run_dir, loaded.root, loaded.recipe.seed, loaded.remote)
        given = Path(ctx.model_path(name))
    elif name.startswith(STAGE_PREFIXES) and not given.exists():
        raise UsageError(
            f"'{name}' is a stage, and of which run is not said",
            where="MODEL",
            remedy=f"add the recipe: --recipe recipes/demo.yaml, or name a folder such as "
            f"runs/demo/{name.replace('.', '/')}",
        )
    if (given / "model" / CONFIG_NAME).is_file() and not (given / CONFIG_NAME).is_file():
        given = given / "model"
    if not given.is_dir():
        raise InputError(
            f"there is no model {name}",
            where=str(given),
            remedy="name a folder with config.json, or a stage that has run: --recipe FILE "
            "merge.merged",
        )
    require_model(given, "MODEL")
    return given


def model_name(folder: Path) -> str:
    """Returns what to call a model: its folder's name, or its stage's where that is ``model``."""
    resolved = folder.resolve()
    if resolved.name != "model" or not resolved.parent.name:
        return resolved.name
    stage = resolved.parent
    group = f"{stage.parent.name}."
    return f"{group}{stage.name}" if group in STAGE_PREFIXES else stage.name
