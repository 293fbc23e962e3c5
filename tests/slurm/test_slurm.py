"""The batch script on a real Slurm: two nodes, a time limit, the queue, and what can go wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.ray_jobs.conftest import Cli, data_bytes
from tests.slurm.local_slurm import LocalSlurm

PLANTED = "hf_plantedtokenofthetest0123456789"
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
LIMIT_SECONDS = 900.0
CPT_EPOCHS = float(os.environ.get("ASTROMILL_SLURM_EPOCHS", "60"))
"""So many that the model is not done at the first time limit; on a busy machine few are enough."""
FULL = pytest.mark.skipif(
    os.environ.get("ASTROMILL_SLURM_TEST") != "1",
    reason="takes minutes; ASTROMILL_SLURM_TEST=1 or `make slurm` runs it",
)


def wait_for(condition: Callable[[], bool], log: Path, seconds: float = LIMIT_SECONDS) -> None:
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise AssertionError(log.read_text() if log.exists() else "no log")
        time.sleep(0.3)


def drivers(slurm: LocalSlurm, number: str) -> Iterator[psutil.Process]:
    for process in slurm.processes(number):
        try:
            if "ray_jobs.run_recipe" in process.cmdline():
                yield process
        except psutil.Error:
            continue


def files_with(secret: str, *places: Path) -> list[str]:
    found = []
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and secret.encode() in path.read_bytes():
                found.append(str(path))
    return found


@pytest.fixture
def submit(slurm: LocalSlurm, checkout: Path, tmp_path: Path) -> Callable[..., tuple[str, Path]]:
    """Submits the generic script over two nodes; returns the job and its log."""

    def send(*arguments: str, options: tuple[str, ...] = (), **more: str) -> tuple[str, Path]:
        log = tmp_path / "job.log"
        number = slurm.submit(
            "--nodes=2", f"--output={log}", *options, "ray_jobs/slurm/generic.sbatch", *arguments,
            cwd=checkout, ASTROMILL_NODE_ADDRESS="127.0.0.1", ASTROMILL_CPUS_PER_NODE="1",
            HF_TOKEN=PLANTED, **more,
        )  # fmt: skip
        return number, log

    return send


@pytest.fixture
def recipe(recipe_data: dict[str, Any], tmp_path: Path) -> Path:
    """The small recipe until a model is trained, which takes longer than Slurm's minute."""
    data = {k: v for k, v in recipe_data.items() if k not in ("synth", "merge", "eval", "release")}
    train = recipe_data["train"]
    data["train"] = {name: dict(train[name]) for name in ("base", "scorer", "cpt")}
    # A worker on each node, since each has one CPU.
    data["train"]["cpt"] |= {"num_workers": 2, "micro_batch_size": 8, "epochs": CPT_EPOCHS}
    data["train"]["cpt"].pop("evaluate", None)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@FULL
@pytest.mark.timeout(1800)
def test_a_job_cut_by_its_time_limit_goes_on_and_ends_with_the_same_bytes(
    slurm: LocalSlurm,
    submit: Callable[..., tuple[str, Path]],
    recipe: Path,
    tmp_path: Path,
    cli: Cli,
) -> None:
    run_dir = tmp_path / "run of slurm"
    number, log = submit(
        str(recipe), "--set", f"run_dir={run_dir}",
        # Slurm counts in minutes and looks every 30 s: the signal comes after 85 to 115 s.
        options=("--time=2", "--signal=B:USR1@5"),
    )  # fmt: skip
    wait_for(lambda: any(drivers(slurm, number)), log)
    driver = next(drivers(slurm, number)).environ()
    token, ray = driver["RAY_AUTH_TOKEN"], Path(f"/tmp/ray-{number}-0")
    assert driver["HF_TOKEN"] == PLANTED

    # While it works, on both nodes.
    wait_for(lambda: (run_dir / "corpus/normalize").exists(), log)
    listening = slurm.listening()
    assert set(listening) <= LOOPBACK, listening
    programs = " ".join(program for some in listening.values() for program in some)
    assert all(name in programs for name in ("slurmctld", "gcs_server", "raylet")), listening
    for secret in (token, PLANTED):
        assert files_with(secret, run_dir, ray, log, *slurm.folder.glob("*.log")) == []
    told = [p for p in slurm.processes(number) if token in " ".join(p.cmdline())]
    assert told == []

    wait_for(lambda: "back in the queue" in log.read_text(), log)
    assert not (run_dir / "train/cpt/manifest.json").exists()
    wait_for(lambda: slurm.job(number)["JobState"] in ("COMPLETED", "FAILED"), log)
    said, job = log.read_text(), slurm.job(number)
    assert job["JobState"] == "COMPLETED", said
    assert int(job["Restarts"]) >= 1
    assert said.count("cluster of 2 nodes") == int(job["Restarts"]) + 1

    expected = tmp_path / "expected"
    done = cli("run", str(recipe), "--set", f"run_dir={expected}")
    assert done.returncode == 0, done.stderr
    wanted, found = data_bytes(expected), data_bytes(run_dir)
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if wanted[name] != found[name]] == []
    assert "train/cpt/model/model.safetensors" in wanted

    for secret in (token, PLANTED):
        assert files_with(secret, run_dir, log, *slurm.folder.glob("*.log")) == []
    wait_for(lambda: slurm.processes(number) == [], log, 30)
    assert list(Path("/tmp").glob(f"ray-{number}-*")) == []


@FULL
def test_a_job_that_may_not_start_again_fails(
    slurm: LocalSlurm, submit: Callable[..., tuple[str, Path]], recipe: Path, tmp_path: Path
) -> None:
    number, log = submit(
        str(recipe), "--set", f"run_dir={tmp_path / 'run'}", ASTROMILL_MOST_RESTARTS="0"
    )
    wait_for(lambda: (tmp_path / "run/corpus/ocr").exists(), log)
    slurm.command("scancel", "--signal=USR1", "--batch", number)
    wait_for(lambda: slurm.job(number)["JobState"] == "FAILED", log)
    assert "not done after 0 restarts" in log.read_text()
    assert slurm.job(number)["Restarts"] == "0"
    wait_for(lambda: slurm.processes(number) == [], log, 30)


def test_a_driver_that_fails_ends_the_job_with_its_code(
    slurm: LocalSlurm, submit: Callable[..., tuple[str, Path]], recipe: Path, tmp_path: Path
) -> None:
    number, log = submit(
        str(recipe), "--set", f"run_dir={tmp_path / 'run'}", "--set", "name=two words"
    )
    wait_for(lambda: slurm.job(number)["JobState"] == "FAILED", log)
    said, job = log.read_text(), slurm.job(number)
    assert "2 of 2 nodes" in said
    # The value came in one piece, and the error says what is wrong with it.
    assert "two words" in said
    assert job["ExitCode"] == "2:0", said
    assert job["Restarts"] == "0"
    wait_for(lambda: slurm.processes(number) == [], log, 30)
    assert list(Path("/tmp").glob(f"ray-{number}-*")) == []


def test_a_cluster_that_does_not_come_up_ends_the_job(
    slurm: LocalSlurm, submit: Callable[..., tuple[str, Path]], recipe: Path
) -> None:
    number, log = submit(str(recipe), ASTROMILL_SRUN_OPTIONS="--no-such-option")
    wait_for(lambda: slurm.job(number)["JobState"] == "FAILED", log, 60)
    assert "Ray did not start on its nodes" in log.read_text()
    assert slurm.job(number)["Restarts"] == "0"
    wait_for(lambda: slurm.processes(number) == [], log, 30)
