"""A small recipe over the sample, and the command line as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from core.yaml_reader import read_yaml
from ray_jobs.cli import main

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def recipe_data(checkout: Path) -> dict[str, Any]:
    """The demo recipe with two documents per shard, one model of 32 hidden units and few steps."""
    data: dict[str, Any] = read_yaml((checkout / "recipes/demo.yaml").read_text())
    data["root"] = str(checkout)
    data["corpus"]["documents_per_shard"] = 2
    data["corpus"]["tokens"]["sequence_length"] = 64
    data["synth"]["chat"]["sequence_length"] = 128
    data["train"]["base"]["tiny"].update(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    for name in ("scorer", "cpt", "sft", "instruct"):
        data["train"][name].update(
            epochs=0.2, num_workers=1, global_batch_sequences=16, micro_batch_size=16
        )
    return data


@pytest.fixture
def write_recipe(recipe_data: dict[str, Any], tmp_path: Path) -> Callable[[Path], Path]:
    """Writes the small recipe with a run folder of its own."""

    def write(run_dir: Path) -> Path:
        path = tmp_path / f"{run_dir.name}.yaml"
        path.write_text(yaml.safe_dump({**recipe_data, "run_dir": str(run_dir)}, sort_keys=False))
        return path

    return write


def cli_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ray_jobs.cli", *arguments]


@pytest.fixture(scope="session")
def cli(checkout: Path) -> Cli:
    """Runs ``astromill`` in a process of its own."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        # Away from any session that the tests hold open.
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        return subprocess.run(
            cli_command(*arguments),
            cwd=checkout,
            env={**environment, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=900,
        )

    return call


@pytest.fixture
def here(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """Runs ``astromill`` in this process: seconds sooner, for what starts no Ray session."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(checkout)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["astromill", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), out, err)

    return call


def alive(process: psutil.Process) -> bool:
    # Orphans whose new parent does not collect them stay zombies for good.
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def data_bytes(run_dir: Path) -> dict[str, bytes]:
    """Every file of a run that must not differ between equal runs."""
    unhashed = {"timings.json", "index.html", ".lock"}
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in sorted(run_dir.rglob("*"))
        if path.is_file()
        and path.name not in unhashed
        and not {"receipts", "logs", "cache"} & set(path.relative_to(run_dir).parts)
    }
