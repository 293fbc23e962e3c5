"""The trial before a run: on real workers, and every way in which it fails."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import train.preflight
from core.errors import StageError
from core.memory import _free_of_container
from core.recipe.train import Trainer
from ray_jobs.cli import app
from train.checkpoint.reader import CheckpointReader
from train.machine import free_memory_bytes
from train.preflight import check_disk, kept_bytes, preflight_loop, read_result
from train.spec import LoopSpec

LENGTH = 48
CPT = {"num_workers": 2, "global_batch_sequences": 4, "zero_stage": 3, "plan_tokens": 480}


@pytest.fixture
def recipe(tmp_path: Path, tiny_folder: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    content = {
        "name": "trial",
        "root": ".",
        "run_dir": "runs/trial",
        "corpus": {
            "sources": [{"kind": "markdown", "name": "notes", "paths": ["notes"]}],
            "perplexity": None,
            "tokens": {"sequence_length": LENGTH},
        },
        "train": {"base": {"path": str(tiny_folder)}, "cpt": CPT},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.usefixtures("ray_session")
def test_a_run_is_tried_on_its_workers(recipe: Path) -> None:
    result = CliRunner().invoke(app, ["train", "preflight", str(recipe)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    cells = [line.strip("│ ").split("│") for line in result.output.splitlines() if "│" in line]
    rows = {name.strip(): value.strip() for name, value in cells}
    assert {"engine", "first step", "second step", "checkpoint, written", "disk"} <= set(rows)
    # 400 tokens: a fresh model knows nothing.
    assert "ln(vocabulary) 5.9" in rows["loss of random tokens"]
    assert "3 steps of" in rows["time of the run"]
    assert "on 2 workers" in rows["time of the run"]
    # Nothing of it stays.
    assert list((recipe.parent / "runs/trial").iterdir()) == []


def test_what_there_is_not_enough_of_is_said(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["train", "preflight", str(recipe), "--run", "other"])
    assert "there is no run 'other'" in str(result.exception)
    monkeypatch.setattr(
        "train.preflight.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    with pytest.raises(
        StageError, match=r"take 0\.0 GiB \(2 checkpoints kept.*, 0\.0 GiB are free"
    ):
        check_disk(recipe.parent, 10_000, Trainer(), steps=3)


def test_disk_by_hand() -> None:
    """AstroSage-8B: two checkpoints of 96 GB, one being written, every 50th; a model of 16 GB."""
    section = Trainer.model_validate(
        {"dtype": "bfloat16", "checkpoint": {"keep_last": 2, "keep_every_steps": 50}}
    )
    assert kept_bytes(8_000_000_000, section, None) == 8_000_000_000 * (3 * 12 + 2)
    assert kept_bytes(8_000_000_000, section, 183) == 8_000_000_000 * (6 * 12 + 2)


def spec(tmp_path: Path, model: Path, **changes: Any) -> LoopSpec:
    section = Trainer.model_validate({"global_batch_sequences": 4, **changes})
    (tmp_path / "out").mkdir()
    return LoopSpec(
        stage="train.cpt",
        model=str(model),
        tokens="",
        out=str(tmp_path / "out"),
        section=section.model_dump(),
        seed=1,
        threads=1,
        started=time.time(),
        checkpoints=str(tmp_path / "checkpoints"),
        sequence_length=LENGTH,
    )


@pytest.mark.usefixtures("process_group")
def test_what_is_found(tmp_path: Path, tiny_folder: Path) -> None:
    preflight_loop(asdict(spec(tmp_path, tiny_folder)))
    found = read_result(tmp_path / "out")
    assert found.loss == pytest.approx(math.log(400), abs=0.5)
    assert found.expected_loss == pytest.approx(math.log(400))
    assert found.step_seconds == found.seconds["second step"] > 0
    parameters = sum(t.numel() for t in _weights(tiny_folder).values())
    assert parameters * 12 < found.checkpoint_bytes < parameters * 12 + 20_000
    assert 0 < found.planned_bytes < (found.free_bytes or math.inf)
    assert found.run_seconds is None


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.usefixtures("process_group")
def test_a_model_that_does_not_fit_is_refused(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.preflight, "free_memory_bytes", lambda use_gpu: 2**20)
    with pytest.raises(
        StageError, match=r"needs about \d\.\d GiB, worker 0 on .* can have 0\.0 GiB \(of 1 workers"
    ) as error:
        preflight_loop(asdict(spec(tmp_path, tiny_folder)))
    assert "micro_batch_size" in error.value.remedy


@pytest.mark.usefixtures("process_group")
def test_a_faulty_disk_is_noticed(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = CheckpointReader.part

    def flipped(self: CheckpointReader, *arguments: Any) -> torch.Tensor:
        return plain(self, *arguments) + 1e-7

    monkeypatch.setattr(CheckpointReader, "part", flipped)
    with pytest.raises(StageError, match="a checkpoint reads back differently"):
        preflight_loop(asdict(spec(tmp_path, tiny_folder)))


@pytest.mark.usefixtures("process_group")
def test_a_broken_model_is_noticed(tmp_path: Path, tiny_folder: Path) -> None:
    from shutil import copytree

    from safetensors.torch import save_file

    broken = copytree(tiny_folder, tmp_path / "broken")
    weights = _weights(tiny_folder)
    weights["model.norm.weight"].fill_(math.nan)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="a step on random tokens has the loss nan"):
        preflight_loop(asdict(spec(tmp_path, broken)))


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    assert _free_of_container(tmp_path) == 650
    (tmp_path / "memory.max").write_text("max\n")
    assert _free_of_container(tmp_path) is None
    assert (free_memory_bytes(use_gpu=False) or 10**9) > 10**6
