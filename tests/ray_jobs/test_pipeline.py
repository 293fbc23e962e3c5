from __future__ import annotations

from pathlib import Path

import pytest

from core.recipe import load_recipe
from ray_jobs.pipeline import build_pipeline

INSTRUCT = {"synth.instruct_tokens", "train.instruct"}


@pytest.mark.parametrize(
    ("recipe", "overrides", "made"),
    [
        ("demo.yaml", (), True),
        # They merge the instruct model that Meta made: none is trained here.
        ("astrosage-8b.yaml", (), False),
        ("astrosage-70b.yaml", (), False),
        ("astrosage-8b.yaml", ("eval.models.instruct=train.instruct",), True),
        ("astrosage-8b.yaml", ("train.instruct.epochs=2",), True),
    ],
)
def test_an_instruct_model_is_trained_only_where_one_is_used(
    checkout: Path, recipe: str, overrides: tuple[str, ...], made: bool
) -> None:
    pipeline = build_pipeline(load_recipe(checkout / "recipes" / recipe, list(overrides)))
    assert (set(pipeline.stages) >= INSTRUCT) is made
    assert (not INSTRUCT & set(pipeline.stages)) is not made
    assert "synth.instruct" in pipeline.stages
