"""The commands over files and over a run's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from core.errors import InputError, UsageError
from core.stage import StageContext
from ray_jobs.score_commands import add_score_commands

Make = Callable[..., dict[str, Any]]
RunScores = Callable[..., dict[str, Any]]


def call(*arguments: str) -> Result:
    app = typer.Typer()
    add_score_commands(app)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


@pytest.fixture
def answered(
    prediction: Make, run_scores: RunScores, context: StageContext, checkout: Path
) -> list[str]:
    """Scores of three rows; returns the recipe's argument and its override."""
    rows = [prediction("base", n, (n + 1) % 4) for n in range(12)]
    rows += [prediction("sft", n, n % 4) for n in range(12)]
    rows += [prediction("sft", n, n % 4 if n < 6 else None, mode="json") for n in range(12)]
    run_scores(rows, ["base", "sft"], questions=12)
    return [str(checkout / "recipes/demo.yaml"), "--set", f"run_dir={context.run_dir}"]


def test_compare_two(answered: list[str]) -> None:
    recipe, *rest = answered
    done = call("compare", recipe, "base", "sft:letter", "--topics", *rest)
    assert done.exit_code == 0, done.output
    assert "sft · letter" in done.output
    assert "12 : 0" in done.output
    assert "+100.0 [" in done.output
    assert "Galaxies" in done.output


def test_compare_all_as_json(answered: list[str]) -> None:
    recipe, *rest = answered
    done = call("compare", recipe, "--json", *rest)
    found = json.loads(done.output)["paired"]
    assert [(p["a"], p["b"], p["a_only"], p["b_only"]) for p in found] == [
        ("base", "sft · letter", 0, 12),
        ("base", "sft · json", 0, 6),
        ("sft · letter", "sft · json", 6, 0),
    ]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["base", "sft"], "'sft' was asked in 2 modes"),
        (["base", "other"], "no answers of 'other'"),
        (["base"], "one model alone"),
        (["--topics"], "--topics needs two models"),
    ],
)
def test_compare_refuses(answered: list[str], names: list[str], fault: str) -> None:
    recipe, *rest = answered
    error = call("compare", recipe, *names, *rest).exception
    assert isinstance(error, UsageError)
    assert fault in error.what


def test_compare_before_there_are_scores(tmp_path: Path, checkout: Path) -> None:
    recipe = str(checkout / "recipes/demo.yaml")
    error = call("compare", recipe, "--set", f"run_dir={tmp_path / 'none'}").exception
    assert isinstance(error, InputError)


def test_score_file(tmp_path: Path) -> None:
    key, given = tmp_path / "key.csv", tmp_path / "given.csv"
    key.write_text("question,A,B,answer\nOne?,x,y,A\nTwo?,x,y,B\nThree?,x,y,\n", encoding="utf-8")
    given.write_text("item_id,[bold]m,n\n1,A,A\n2,B,A\n3,A,A\n9,A,A\n", encoding="utf-8")
    done = call("score-file", str(given), str(key))
    assert done.exit_code == 0, done.output
    assert "[bold]m" in done.output
    assert "2 of 2" in done.output
    assert "rows of no question of the key: 1 (9)" in done.output
    assert "rows of questions without a key: 1" in done.output
    record = json.loads(call("score-file", str(given), str(key), "--json").output)
    assert [m["accuracy"] for m in record["models"]] == [1.0, 0.5]
    assert record["paired"][0]["p_value"] == 1.0
