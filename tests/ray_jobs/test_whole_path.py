"""The demo recipe end to end, with smaller models: all stages, accounts, what becomes stale."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.graph import Pipeline
from core.recipe import load_recipe
from ray_jobs.pipeline import build_pipeline
from tests.safety.listening import Listening

Cli = Callable[..., subprocess.CompletedProcess[str]]

QUANTILE = "corpus.perplexity.drop_quantile=0.05"
TOUCHED_BY_QUANTILE = {
    "corpus.threshold",
    "corpus.filter",
    "corpus.dedup_signatures",
    "corpus.dedup_clusters",
    "corpus.dedup",
    "corpus.contamination",
    "corpus.contamination_report",
    "corpus.decontaminate",
    "corpus.tokens",
    "train.cpt",
    "synth.summaries",
    "synth.summary_conversations",
    "synth.qa",
    "synth.judge",
    "synth.judge_report",
    "synth.pairs",
    "synth.conversations",
    "synth.metadata",
    "synth.mixture_rows",
    "synth.mixture_plan",
    "synth.mixture_pick",
    "synth.mixture",
    "synth.sft_tokens",
    "train.sft",
    "train.instruct",
    "merge.merged",
    "eval.mcq",
    "merge.sweep",
    "merge.sweep_figure",
    "eval.heldout",
    "eval.scores",
    "eval.report",
}


@pytest.fixture(scope="module")
def recipe(recipe_data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole")
    data = {**recipe_data, "run_dir": str(folder / "run")}
    data["corpus"] = {**data["corpus"], "documents_per_shard": 10}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    with Listening() as heard:
        done = cli("run", str(path))
    assert done.returncode == 0, done.stderr
    assert "43 stages ran, 0 up to date" in done.stderr
    assert "report: " in done.stderr
    assert heard.seen
    assert heard.beyond_loopback() == {}
    return path


def pipeline_of(recipe: Path, *overrides: str) -> Pipeline:
    return build_pipeline(load_recipe(recipe, overrides))


def test_rows_add_up_at_every_stage_and_on_its_card(recipe: Path) -> None:
    pipeline = pipeline_of(recipe)
    for name, state in pipeline.states().items():
        assert state.fresh, (name, state.reasons)
        manifest = state.manifest
        assert manifest is not None
        assert manifest.rows_in == manifest.rows_out + manifest.rows_rejected
        assert manifest.rows_in > 0, name
        card = (pipeline.ctx.folder(name) / "README.md").read_text()
        assert f"| {manifest.rows_in:,} | {manifest.rows_out:,} |" in card
        assert "| yes |" in card


def test_scores_name_every_model_and_the_stand_in_is_labelled(recipe: Path) -> None:
    ctx = pipeline_of(recipe).ctx
    scores = json.loads((ctx.folder("eval.scores") / "scores.json").read_text())
    assert [model["name"] for model in scores["models"]] == ["base", "cpt", "sft", "merged"]
    page = (ctx.folder("eval.report") / "index.html").read_text()
    assert "no language model" in page
    assert len(page) < 5_000_000


def test_second_run_skips_everything_within_a_minute(recipe: Path, cli: Cli) -> None:
    started = time.monotonic()
    done = cli("run", str(recipe))
    assert "0 stages ran, 43 up to date" in done.stderr
    assert time.monotonic() - started < 60


def test_a_changed_value_makes_exactly_what_it_touches_stale(recipe: Path, cli: Cli) -> None:
    states = pipeline_of(recipe, QUANTILE).states()
    assert {name for name, state in states.items() if not state.fresh} == TOUCHED_BY_QUANTILE
    assert states["corpus.threshold"].reasons == ["drop_quantile 0.02 -> 0.05"]
    assert states["corpus.filter"].reasons == ["input corpus.threshold changed"]
    shown = cli("status", str(recipe), "--set", QUANTILE).stdout
    assert f"{len(TOUCHED_BY_QUANTILE)} of 43 stages would run" in shown


def test_a_changed_value_recomputes_only_that(recipe: Path, cli: Cli) -> None:
    done = cli("run", str(recipe), "--until", "corpus.filter", "--set", QUANTILE)
    assert done.returncode == 0, done.stderr
    assert "2 stages ran, 9 up to date" in done.stderr
    back = cli("run", str(recipe), "--until", "corpus.filter")
    assert back.returncode == 0, back.stderr
    # The same bytes as before: what follows is fresh again without running.
    states = pipeline_of(recipe).states()
    assert {name: s.reasons for name, s in states.items() if not s.fresh} == {}
