"""The check of the benchmarks' data before any model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from core.errors import UsageError
from ray_jobs.general_commands import add_general_commands
from tests.eval.general.conftest import FOLDERS

pytest.importorskip("lm_eval")


@pytest.fixture
def app() -> typer.Typer:
    group = typer.Typer()
    add_general_commands(group)
    return group


def _check(app: typer.Typer, checkout: Path, root: Path, *names: str) -> tuple[int, str]:
    tasks = [{"name": name, "path": str(root / FOLDERS[name])} for name in names]
    section = json.dumps({"tasks": tasks, "nltk_data": str(root / "nltk_data")})
    recipe = str(checkout / "recipes" / "demo.yaml")
    result = CliRunner().invoke(app, ["general-data", recipe, "--set", f"eval.general={section}"])
    return result.exit_code, result.output


def test_all_data_are_there(app: typer.Typer, checkout: Path, general_root: Path) -> None:
    code, said = _check(app, checkout, general_root, *FOLDERS)
    assert code == 0
    rows = [line.split() for line in said.splitlines() if "│" in line]
    assert len(rows) == 39
    assert ["│", "mmlu_pro", "│", "4", "│", "│", "2", "│"] in rows


def test_what_is_missing_is_said_once(app: typer.Typer, checkout: Path, tmp_path: Path) -> None:
    (tmp_path / FOLDERS["leaderboard_gpqa"]).mkdir(parents=True)
    (tmp_path / FOLDERS["leaderboard_gpqa"] / "gpqa_main.csv").write_text("Question\nWhy?\n")
    code, said = _check(app, checkout, tmp_path, "leaderboard_gpqa", "leaderboard_bbh")
    assert code == 1
    assert said.count("no file found for") == 1
    flat = " ".join(said.split())
    assert "no file for the split 'train' of 'gpqa_diamond'" in flat
    assert "the columns Correct Answer, Incorrect Answer 1" in flat


def test_a_recipe_without_the_section(app: typer.Typer, checkout: Path) -> None:
    result = CliRunner().invoke(app, ["general-data", str(checkout / "recipes" / "demo.yaml")])
    assert isinstance(result.exception, UsageError)
