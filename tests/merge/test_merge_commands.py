from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from core.errors import InputError, UsageError
from core.stage import StageContext
from core.yaml_reader import read_yaml
from merge.sweep_figure import Point, Score
from ray_jobs.merge_commands import add_merge_commands, sweep_table


def call(*arguments: str) -> Result:
    """Runs a command of the merge group in this process."""
    app = typer.Typer()
    add_merge_commands(app)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"}, catch_exceptions=True)


@pytest.fixture
def recipe(checkout: Path, merge_ctx: StageContext, tmp_path: Path) -> str:
    """The demo's merge over tiny models."""
    data = read_yaml((checkout / "recipes/demo.yaml").read_text())
    data |= {"root": str(merge_ctx.root), "run_dir": str(merge_ctx.run_dir)}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def test_check_says_what_a_merge_takes(recipe: str) -> None:
    done = call("check", recipe, "--set", "merge.models.1.weight=0.5")
    assert done.exit_code == 0, done.output
    for text in ("they fit together", "parameters", "GiB free", "train.instruct", "sum to 1.35"):
        assert text in done.output, text


def test_check_says_what_does_not_fit(recipe: str) -> None:
    done = call("check", recipe, "--set", "merge.models.1.model=nowhere")
    assert isinstance(done.exception, InputError)
    assert "does not exist" in done.exception.what


def test_check_says_where_the_voice_cannot_talk(
    recipe: str, merge_ctx: StageContext, tmp_path: Path
) -> None:
    endless = tmp_path / "endless"
    shutil.copytree(merge_ctx.model_path("train.instruct"), endless)
    (endless / "generation_config.json").write_text('{"eos_token_id": "never"}')
    done = call(
        *("check", recipe, "--set", f"merge.models.1.model={endless}"),
        *("--set", f"merge.voice={endless}"),
    )
    assert isinstance(done.exception, InputError)
    assert "eos_token_id is no number of a token" in done.exception.what


def test_a_recipe_without_merge_or_sweep(recipe: str) -> None:
    done = call("check", recipe, "--set", "merge=null")
    assert isinstance(done.exception, UsageError)
    done = call("sweep", recipe, "--set", "merge.sweep=null")
    assert isinstance(done.exception, UsageError)
    assert "merge.sweep={weights: [0, 0.25, 0.5, 0.75, 1]}" in done.exception.remedy


def test_the_table_of_a_sweep() -> None:
    points = [
        Point(0.0, {"domain": Score(30, 40)}),
        Point(0.25, {"domain": Score(20, 40), "general": Score(1, 2)}),
    ]
    console = Console(width=120, record=True)
    console.print(sweep_table(points, 0.25, "instruct"))
    text = console.export_text()
    assert "weight of" in text
    assert "instruct" in text
    assert "0.25 (merged)" in text
    assert "75.0% [59.8, 85.8]" in text
    assert "50.0% [35.2, 64.8]" in text
