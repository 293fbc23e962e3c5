"""The judge's commands, in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from click.testing import Result
from typer.testing import CliRunner

from core.errors import UsageError
from ray_jobs.judge_commands import add_judge_commands, share
from synth.judge.verdict import CRITERIA
from tests.synth.judge.conftest import PERFECT, MakeJudged
from tests.synth.judge.test_sheet import BAD, fill

Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    add_judge_commands(app)

    def run(*arguments: Any) -> Result:
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def recipe(checkout: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a small recipe with a judge, or without one."""

    def write(**judge: Any) -> Path:
        notes = {"kind": "markdown", "name": "n", "paths": ["samples/astronomy"], "license": "CC0"}
        data: dict[str, Any] = {
            "name": "small",
            "root": str(checkout),
            "run_dir": str(tmp_path / "run"),
            "corpus": {"sources": [notes]},
            "synth": {"qa": {"engine": {"kind": "rules"}}},
        }
        if judge:
            data["synth"]["judge"] = judge
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


def test_measure_judge(call: Call, recipe: Callable[..., Path]) -> None:
    path = recipe(engine={"kind": "rules"}, passage=True)
    done = call("measure-judge", path)
    assert done.exit_code == 0
    for part in ("102 pairs, 0 verdicts could not be read", "precision", "recall", "mistakes"):
        assert part in done.stdout
    record = json.loads(call("measure-judge", path, "--json").stdout)
    assert set(record["caught"]) == {"wrong", "context", "trivial"}
    changes = [f"--set=synth.judge.keep.{name}=1" for name in ("stand_alone", "overall")]
    looser = call("measure-judge", path, "--json", *changes)
    caught = json.loads(looser.stdout)["caught"]["context"]
    assert caught[0] < record["caught"]["context"][0]


def test_measure_a_model(call: Call, recipe: Callable[..., Path], tiny_folder: Path) -> None:
    engine = {"kind": "transformers", "model": str(tiny_folder)}
    record = json.loads(call("measure-judge", recipe(engine=engine), "--json").stdout)
    assert record["unparsed"] == record["pairs"] == 102


def test_measure_without_a_judge(call: Call, recipe: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="the recipe has no judge"):
        call("measure-judge", recipe())


def test_agreement(call: Call, tmp_path: Path, make_judged: MakeJudged) -> None:
    run = tmp_path / "run"
    make_judged(run / "synth" / "judge", [PERFECT, BAD, PERFECT, BAD])
    make_judged(run / "synth" / "judge_second", [PERFECT, BAD, PERFECT, PERFECT])
    done = call("agreement", run)
    assert "3" in done.stdout
    assert "kept: first \\ second" in done.stdout
    record = json.loads(call("agreement", run, "--json").stdout)
    assert record["kept"]["kappa"] == pytest.approx(0.5)
    assert record["correctness"]["kappa"] is None
    other = shutil.copytree(run / "synth" / "judge", tmp_path / "other")
    record = json.loads(call("agreement", run, other, "--json").stdout)
    assert record["kept"]["kappa"] == 1
    with pytest.raises(UsageError, match="no judged pairs here"):
        call("agreement", tmp_path)


def test_a_sheet_and_its_score(call: Call, tmp_path: Path, make_judged: MakeJudged) -> None:
    folder = make_judged(tmp_path / "judge", [*[PERFECT] * 30, *[BAD] * 10])
    sheet = tmp_path / "sheet.csv"
    done = call("sheet", folder, "--rows", 20, "--out", sheet)
    assert "10 of 30 kept pairs and 10 of 10 dropped ones" in done.stdout
    with pytest.raises(UsageError, match="no row of the sheet has scores"):
        call("score-sheet", sheet, folder)
    fill(sheet, lambda qa_id: PERFECT)
    done = call("score-sheet", sheet, folder)
    assert "you keep 10 of 10 = 100.0% (72.2%-100.0%)" in done.stdout
    assert "recall: of all good pairs the judge keeps about 75.0%" in done.stdout
    assert "disagreements" in done.stdout
    record = json.loads(call("score-sheet", sheet, folder, "--json").stdout)
    assert (record["rated"], record["precision"], record["lost"]) == (20, [10, 10], [10, 10])
    middle, low, high = record["recall"]
    assert low < middle < high
    assert len(record["disagreements"]) == 10
    assert set(record["agreement"]) == {*CRITERIA, "kept"}


def test_a_share_of_nothing() -> None:
    assert share((0, 0)) == "0 of 0"
    assert share((37, 44)) == "37 of 44 = 84.1% (70.6%-92.1%)"
