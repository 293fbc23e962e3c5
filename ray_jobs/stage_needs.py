"""What the recipe's ``cluster.stages`` says, put on the stages."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.errors import RecipeError
from core.graph import AnyStage
from core.recipe.model import StageNeeds
from core.stage import JobStage

_GIB = 2**30


def apply_needs(stages: Sequence[AnyStage], wanted: Mapping[str, StageNeeds]) -> None:
    """Changes what single stages take from the cluster, in place.

    Args:
        stages: of the recipe.
        wanted: needs by stage name.

    Raises:
        RecipeError: there is no such stage, or it books its own workers.
    """
    by_name = {stage.name: stage for stage in stages}
    for name, needs in wanted.items():
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
            raise RecipeError(
                f"there is no stage '{name}' in this recipe",
                where=f"key cluster.stages.{name}",
                remedy=f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(by_name)}",
            )
        stage = by_name[name]
        if isinstance(stage, JobStage) and not stage.remote:
            raise RecipeError(
                f"'{name}' books its own workers",
                where=f"key cluster.stages.{name}",
                remedy=f"use the keys of the section {name}: num_workers, use_gpu, ...",
            )
        _apply(stage, needs)


def _apply(stage: AnyStage, needs: StageNeeds) -> None:
    changed: dict[str, Any] = {
        "cpus": needs.cpus,
        "gpus": needs.gpus,
        "memory_bytes": None if needs.memory_gib is None else int(needs.memory_gib * _GIB),
        "accelerator_type": needs.accelerator_type,
    }
    if needs.gpus is not None:
        # Said outright: no longer "where there are any".
        changed["gpus_if_any"] = 0.0
    stage.resources = replace(
        stage.resources, **{key: value for key, value in changed.items() if value is not None}
    )
    if needs.workers is None:
        return
    if isinstance(stage, JobStage):
        raise RecipeError(
            f"'{stage.name}' is one piece of work: it has one worker",
            where=f"key cluster.stages.{stage.name}.workers",
            remedy="leave the key out",
        )
    if stage.actors is None:
        stage.workers = needs.workers
    else:
        stage.actors = needs.workers
