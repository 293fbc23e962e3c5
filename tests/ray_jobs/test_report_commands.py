"""``astromill report``: the page of a run that has not finished."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from core.errors import InputError
from core.manifest import Manifest
from ray_jobs.report_commands import add_report_commands


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    add_report_commands(made)
    return made


def finished(folder: Path, stage: str) -> None:
    folder.mkdir(parents=True)
    empty = {"config": {}, "inputs": {}, "input_digests": {}, "files": []}
    manifest = Manifest(
        stage=stage,
        code_version=1,
        seed=42,
        sources_digest="",
        fingerprint="f" * 64,
        key="k",
        row_unit="record",
        rows_in=5,
        rows_out=5,
        rows_rejected=0,
        **empty,  # type: ignore[arg-type]
    )
    manifest.save(folder)


def test_page_of_a_run_under_way(app: typer.Typer, checkout: Path, tmp_path: Path) -> None:
    finished(tmp_path / "run" / "corpus" / "catalog", "corpus.catalog")
    recipe, run = str(checkout / "recipes" / "demo.yaml"), f"run_dir={tmp_path / 'run'}"
    result = CliRunner().invoke(app, ["report", recipe, "--set", run])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 of ")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "corpus.catalog" in page
    assert "not run yet" in page
    other = tmp_path / "elsewhere.html"
    CliRunner().invoke(app, ["report", recipe, "--set", run, "--out", str(other)])
    assert other.read_text(encoding="utf-8") == page


def test_errors_say_what_to_do(app: typer.Typer, checkout: Path, tmp_path: Path) -> None:
    recipe, run = str(checkout / "recipes" / "demo.yaml"), f"run_dir={tmp_path / 'run'}"
    result = CliRunner().invoke(app, ["report", recipe, "--set", run])
    assert isinstance(result.exception, InputError)
    assert "no stage of this run has finished" in str(result.exception)
    result = CliRunner().invoke(app, ["report", recipe, "--set", run, "--out", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "run").exists()
