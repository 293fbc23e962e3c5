from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from core.errors import InputError, UsageError
from core.manifest import Manifest
from core.progress import Reporter
from core.recipe import load_recipe
from core.runner import run_pipeline
from ray_jobs.pipeline import build_pipeline
from ray_jobs.plan_commands import add_plan_commands
from ray_jobs.plan_sample import FOLDER, parse_share

SENTENCES = (
    "Jupiter is the largest planet and has a radius of {} km in this note.",
    "Star {} was seen to dim by a tenth for three hours.",
    "The comet came back after {} years, as Halley had said.",
)

QUESTION = {"question": "Which is largest?", "choices": ["Mars", "Jupiter"], "answer": "B"}


def call(*arguments: str) -> Result:
    """Runs ``astromill plan`` in this process, in the tests' session."""
    app = typer.Typer()
    add_plan_commands(app)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "220"}, catch_exceptions=True)


def planned(*arguments: str) -> dict[str, Any]:
    done = call(*arguments, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """Two sources of 60 notes of very different lengths, some of them empty."""
    folder = tmp_path_factory.mktemp("plan")
    for number in range(60):
        name = folder / ("long" if number % 3 == 0 else "short") / f"{number:02d}.md"
        name.parent.mkdir(exist_ok=True)
        lines = [SENTENCES[k % 3].format(number * 97 + k) for k in range(4 + number * 7 % 23)]
        name.write_text("" if number % 10 == 9 else f"# Note {number}\n\n" + "\n\n".join(lines))
    sources = [
        {"kind": "markdown", "name": name, "paths": [name], "license": "CC0-1.0"}
        for name in ("long", "short")
    ]
    data = {
        "name": "planned",
        "root": str(folder),
        "run_dir": "run",
        "corpus": {
            "documents_per_shard": 10,
            "sources": sources,
            "tokens": {"sequence_length": 64},
            "perplexity": None,
            "dedup": None,
            "decontaminate": None,
        },
        "train": {"base": {"path": str(tiny_folder)}, "cpt": {"epochs": 2}},
        "eval": {
            "models": {"base": "train.base", "cpt": "train.cpt"},
            "mcq": {
                "mode": "letter",
                "permutations": 2,
                "benchmarks": [{"name": "quiz", "path": "quiz.jsonl", "shots": {"count": 1}}],
            },
        },
    }
    lines = [json.dumps({**QUESTION, "id": str(n)}) for n in range(3)]
    (folder / "quiz.jsonl").write_text("\n".join(lines))
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, ray_session: None) -> Path:
    """The whole recipe, run until its tokens."""
    pipeline = build_pipeline(load_recipe(recipe))
    run_pipeline(pipeline, pipeline.select(until="corpus.tokens"), Reporter(), workers=2)
    return pipeline.ctx.run_dir


@pytest.fixture(scope="module")
def half(recipe: Path, whole: Path) -> dict[str, Any]:
    """A plan by half of the sources."""
    return planned(str(recipe), "--sample", "50%", "--machine", "laptop", "--tflops", "0.001")


def stage_of(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in plan["stages"] if s["estimate"]["stage"] == name)


def test_half_of_the_sources_tells_rows_and_tokens_of_the_whole(
    half: dict[str, Any], whole: Path
) -> None:
    for name in ("corpus.ingest", "corpus.normalize", "corpus.tokens"):
        truth = Manifest.require(whole.joinpath(*name.split(".")), name)
        estimate = stage_of(half, name)["estimate"]
        assert estimate["how"] == "sample", name
        for key in ("rows_in", "rows_out", "rows_rejected"):
            bounds = estimate[key]
            assert bounds["low"] <= getattr(truth, key) <= bounds["high"], (name, key, bounds)
    tokens = stage_of(half, "corpus.tokens")["estimate"]["metrics"]["tokens"]
    true_tokens = Manifest.require(whole / "corpus" / "tokens", "corpus.tokens").metrics["tokens"]
    assert tokens["low"] < true_tokens < tokens["high"]
    assert tokens["value"] == pytest.approx(true_tokens, rel=0.25)
    assert tokens["high"] - tokens["low"] < true_tokens


def test_only_the_sample_was_read_and_the_run_was_left_alone(
    half: dict[str, Any], whole: Path
) -> None:
    sample = Manifest.require(whole / FOLDER / "corpus" / "ingest", "corpus.ingest")
    full = Manifest.require(whole / "corpus" / "ingest", "corpus.ingest")
    assert full.rows_in * 0.4 < sample.rows_in < full.rows_in * 0.6
    pipeline = build_pipeline(load_recipe(whole.parent / "recipe.yaml"))
    states = pipeline.states(["corpus.tokens"])
    assert all(state.fresh for state in states.values())


def test_training_follows_from_the_predicted_tokens(half: dict[str, Any]) -> None:
    """Hours are tokens times arithmetic over ranks times speed, by hand."""
    (run,) = [t for t in half["training"] if t["run"] == "train.cpt"]
    epoch = stage_of(half, "corpus.tokens")["estimate"]["metrics"]["tokens"]["value"]
    assert run["tokens"]["value"] == pytest.approx(2 * epoch, rel=0.02)
    # Six per multiplied number (a tied head counts), and attention: 6 x layers x length x hidden.
    per_token = 6 * run["parameters"] + 6 * 2 * 64 * 64
    hours = run["tokens"]["value"] * per_token / 0.001e12 / 3600
    assert run["wall_hours"]["value"] == pytest.approx(hours)
    assert run["wall_hours"]["low"] < run["wall_hours"]["value"] < run["wall_hours"]["high"]


def test_questions_are_counted(half: dict[str, Any]) -> None:
    """Three questions of 28 characters, each after one solved: 14 tokens; 2 models, 3 orders."""
    asked = half["evaluation"]
    assert (asked["models"], asked["questions"], asked["prompts"]) == (2, 3, 18)
    assert asked["read_tokens"] == 18 * 2 * (17 + 4 + 7) / 4
    flop = 2 * half["training"][0]["parameters"] * asked["read_tokens"]
    assert asked["flop"] == flop
    assert asked["wall_hours"] == pytest.approx(flop / 0.001e12 / 3600)


def test_another_machine_takes_the_same_sample(half: dict[str, Any], recipe: Path) -> None:
    done = call(str(recipe), "--sample", "50%", "--machine", "h200x8", "--price", "10")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "up to date" in done.stderr
    assert " documents in" not in done.stderr
    for text in ("corpus.tokens", "train.cpt", "10 USD per node-hour", "intervals are the middle"):
        assert text in done.stdout, text


def test_all_of_the_sources_is_exact(recipe: Path, whole: Path) -> None:
    plan = planned(str(recipe), "--sample", "100%", "--until", "corpus.normalize")
    truth = Manifest.require(whole / "corpus" / "normalize", "corpus.normalize")
    rows = stage_of(plan, "corpus.normalize")["estimate"]["rows_out"]
    assert rows == {"value": truth.rows_out, "low": truth.rows_out, "high": truth.rows_out}
    assert plan["unknown"]["corpus.tokens"] == "after --until"


def test_an_earlier_run_is_taken_as_it_is(recipe: Path, whole: Path) -> None:
    plan = planned(str(recipe), "--from-run", str(whole))
    truth = Manifest.require(whole / "corpus" / "tokens", "corpus.tokens")
    tokens = stage_of(plan, "corpus.tokens")["estimate"]
    assert tokens["how"] == "whole"
    assert tokens["metrics"]["tokens"]["value"] == truth.metrics["tokens"]
    (run,) = [t for t in plan["training"] if t["run"] == "train.cpt"]
    assert run["tokens"]["value"] == 2 * 64 * truth.metrics["sequences"]


def test_the_papers_numbers(checkout: Path) -> None:
    """AstroMLab 3, Table 1: 1,472 GCDs, 14,872 GPU-hours. AstroMLab 4, section 2.3: 2,048 GCDs."""
    recipe = str(checkout / "recipes/astrosage-8b.yaml")
    plan = planned(recipe, "--sample", "0", "--machine", "frontier", "--tflops", "6.35")
    cpt = plan["training"][0]
    assert (cpt["run"], cpt["ranks"], cpt["nodes"]) == ("train.cpt", 1472, 184)
    assert cpt["rank_hours"]["value"] == pytest.approx(14_872, rel=0.01)
    assert cpt["fits"]
    assert cpt["rank_bytes_otherwise"] > cpt["usable_bytes"]
    recipe = str(checkout / "recipes/astrosage-70b.yaml")
    plan = planned(recipe, "--sample", "0", "--machine", "frontier", "--tflops", "50")
    cpt = plan["training"][0]
    assert (cpt["ranks"], cpt["nodes"], cpt["fits"]) == (2048, 256, True)
    assert cpt["notes"] == ["needs 256 nodes, the plan has 184"]
    assert cpt["rank_hours"]["value"] == pytest.approx(21_800, rel=0.01)
    assert plan["merge"]["wall_hours"] == pytest.approx(3.5, rel=0.01)


def test_sources_that_are_not_there_leave_the_models(checkout: Path, tmp_path: Path) -> None:
    recipe = str(checkout / "recipes/astrosage-8b.yaml")
    done = call(recipe, "--machine", "frontier", "--set", f"run_dir={tmp_path}")
    assert done.exit_code == 0, done.output
    assert "not measured: there is no file" in " ".join(done.stdout.split())
    assert "train.cpt" in done.stdout


@pytest.mark.parametrize("text", ["0.0%", "101%", "many", "-1"])
def test_what_is_no_share_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is no share"):
        parse_share(text)


def test_wrong_use_is_said(recipe: Path, tmp_path: Path) -> None:
    missing = call(str(recipe), "--from-run", str(tmp_path / "none"))
    assert isinstance(missing.exception, UsageError)
    empty = call(str(recipe), "--from-run", str(tmp_path))
    assert isinstance(empty.exception, InputError)
    trained = call(str(recipe), "--sample", "50%", "--until", "train.cpt")
    assert isinstance(trained.exception, UsageError)
