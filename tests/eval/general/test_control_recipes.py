"""The control recipes: the one of full size shares its stages with the model's own recipe."""

from __future__ import annotations

from pathlib import Path

from core.recipe import LoadedRecipe, load_recipe
from ray_jobs.pipeline import build_pipeline


def _load(checkout: Path, name: str) -> LoadedRecipe:
    return load_recipe(checkout / "recipes" / name, [])


def test_only_the_control_is_new_in_the_8b_recipe(checkout: Path) -> None:
    plain, control = (_load(checkout, name) for name in ("astrosage-8b.yaml", "control-8b.yaml"))
    assert control.run_dir == plain.run_dir
    ours, theirs = build_pipeline(control), build_pipeline(plain)
    new = {"synth.control", "synth.control_tokens", "train.control", "eval.control"}
    assert new <= set(ours.stages)
    shared = [n for n in ours.stages if n in theirs.stages and not n.startswith("eval.")]
    assert {"train.sft", "merge.merged", "corpus.decontaminate"} <= set(shared)
    for name in shared:
        a, b = ours.stages[name], theirs.stages[name]
        assert (a.config(), a.inputs) == (b.config(), b.inputs), name


def test_the_demo_compares_three_models_of_one_descent(checkout: Path) -> None:
    loaded = _load(checkout, "control-demo.yaml")
    pipeline = build_pipeline(loaded)
    assert "train.sft" in pipeline.stages["train.control"].inputs
    assert "synth.control_tokens" in pipeline.stages["train.control"].inputs
    assert pipeline.stages["eval.control"].inputs == ("eval.scores",)
    evaluated = loaded.recipe.eval
    assert evaluated is not None
    assert set(evaluated.models) == {"sft", "merged", "control"}
