from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from core.errors import RecipeError, UsageError
from ray_jobs.train_commands import add_train_commands


def call(*arguments: str) -> Result:
    """Runs a command of the train group in this process."""
    app = typer.Typer()
    add_train_commands(app)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"}, catch_exceptions=True)


def config(output: str) -> dict[str, object]:
    _, text = output.split("DeepSpeed configuration:\n")
    found: dict[str, object] = json.loads(text)
    return found


def test_the_plan_of_astrosage_8b(checkout: Path) -> None:
    """AstroMLab 3, Table 1: 1,472 GCDs, micro batch 3, 8,192 tokens, two epochs of 3.3 billion."""
    done = call("cpt", str(checkout / "recipes/astrosage-8b.yaml"), "--dry-run")
    assert done.exit_code == 0, done.output
    for text in (
        "8,030,261,248",
        "4,416 sequences of 8,192 = micro batch 3 x accumulation 1 x data 1472",
        "0.00015, warmup 40 steps, then constant",
        "183 in 2 epochs (by plan_tokens)",
        "memory of a rank",
    ):
        assert text in done.output, text
    settings = config(done.output)
    assert settings["train_micro_batch_size_per_gpu"] == 3
    assert settings["gradient_clipping"] == 3.0
    assert settings["bf16"] == {"enabled": True}


def test_the_plan_of_astrosage_70b(checkout: Path) -> None:
    """AstroMLab 4, sections 2.1 and 2.3: TP 8 x PP 8 x DP 32, warmup over 0.15 epochs."""
    recipe = str(checkout / "recipes/astrosage-70b.yaml")
    done = call("cpt", recipe, "--dry-run")
    assert "tensor 8 x pipeline 8 x data 32" in done.output
    assert "warmup 0.15 epochs (125 steps), then cosine over the last 0.5 epochs" in done.output
    assert "in 2.5 epochs" in done.output
    assert "in 2 epochs" in call("sft", recipe, "--dry-run").output


def test_a_plan_without_tokens_says_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    # Not the demo's own folder: there may be a finished run.
    run_dir = f"run_dir={tmp_path}"
    done = call("cpt", str(checkout / "recipes/demo.yaml"), "--dry-run", "--set", run_dir)
    assert "not known: make the data, or give train.cpt.plan_tokens" in done.output


def test_what_does_not_divide_is_an_error_with_the_numbers(checkout: Path) -> None:
    recipe = str(checkout / "recipes/astrosage-8b.yaml")
    done = call("cpt", recipe, "--dry-run", "--set", "train.cpt.global_batch_tokens=1000000")
    assert isinstance(done.exception, RecipeError)
    assert "1,000,000 is not a multiple of sequence_length 8,192" in done.exception.what


def test_a_model_of_unknown_size_is_said(checkout: Path) -> None:
    recipe = str(checkout / "recipes/astrosage-8b.yaml")
    done = call("cpt", recipe, "--dry-run", "--set", "train.base.shape=null")
    assert isinstance(done.exception, UsageError)
    assert "train.base.shape" in done.exception.remedy


@pytest.mark.parametrize("name", ["curves.png", "curves.svg"])
def test_a_figure_of_a_run(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "train" / "cpt"
    folder.mkdir(parents=True)
    line = {"step": 1, "epoch": 0.5, "loss": 2.0, "learning_rate": 1e-4, "update_norm": 0.1}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    done = call("figure", str(tmp_path), "--out", str(tmp_path / name))
    assert done.exit_code == 0, done.output
    assert (tmp_path / name).stat().st_size > 1000


def test_a_folder_without_a_run_or_a_wrong_ending_is_said(tmp_path: Path) -> None:
    assert isinstance(call("figure", str(tmp_path)).exception, UsageError)
