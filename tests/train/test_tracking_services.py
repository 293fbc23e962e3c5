"""Weights & Biases (offline) and MLflow (a folder), for real where they are installed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from core.recipe.watch import Tracking
from train.tracking import Trackers


def two_starts(section: Tracking, folder: Path) -> None:
    """Logs steps 1 and 2, and after a stop 3 and 4."""
    for first in (1, 3):
        trackers = Trackers(section, folder, "demo-train.cpt", "a1b2", first)
        for step in (first, first + 1):
            values = {"loss": 3.0 / step, "mfu": None, "evaluation/notes (new)": float(step)}
            trackers.log(step, values)
        trackers.close()


def test_wandb_keeps_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "planted" + "0" * 33)
    two_starts(Tracking(tensorboard=False, wandb_project="astro"), tmp_path)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    runs = [path for path in found if path.suffix == ".wandb"]
    assert {path.name for path in runs} == {"run-demo-train.cpt-a1b2.wandb"}
    assert b"evaluation/notes (new)" in runs[0].read_bytes()
    assert not [path for path in found if b"planted000" in path.read_bytes()]
    assert not [path for path in found if path.name == "output.log" and path.stat().st_size]
    assert capfd.readouterr().out == ""


def test_mlflow_goes_on_with_its_run(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    folder = tmp_path / "store"
    two_starts(Tracking(tensorboard=False, mlflow_uri=str(folder)), tmp_path)
    client = tracking.MlflowClient(str(folder))
    experiment = client.get_experiment_by_name("demo-train.cpt")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(n, 3 / n) for n in (1, 2, 3, 4)]
    assert client.get_metric_history(run.info.run_id, "evaluation/notes _new_")


def test_a_server_that_is_away_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    section = Tracking(tensorboard=False, mlflow_uri="http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "train.tracking"):
        two_starts(section, tmp_path)
    assert caplog.text.count("mlflow gets no more metrics") == 2
