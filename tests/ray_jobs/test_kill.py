"""kill -9 anywhere, rerun: the same bytes as an undisturbed run. And: workers change nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

from core.yaml_reader import read_yaml
from tests.ray_jobs.conftest import alive, cli_command, data_bytes

UNTIL = "corpus.tokens"
LIMIT_SECONDS = 300.0


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    while not condition():
        assert process.poll() is None, "the run ended before it could be disturbed"
        assert time.monotonic() - started < LIMIT_SECONDS
        time.sleep(0.005)


def start(recipe: Path, checkout: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            cli_command("run", str(recipe), "--until", UNTIL),
            cwd=checkout,
            stdout=output,
            stderr=output,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Ray's own processes end with their driver; the next run must not depend on it.
    deadline = time.monotonic() + 20
    while any(alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)


def fewer_notes(recipe: Path) -> Path:
    """Leaves all papers and a few of the notes: what is killed is the same, and sooner there."""
    data = read_yaml(recipe.read_text())
    for source in data["corpus"]["sources"]:
        if source["kind"] == "markdown":
            source["paths"] = ["samples/astronomy/[a-g]*.md"]
    recipe.write_text(yaml.safe_dump(data, sort_keys=False))
    return recipe


def receipts(folder: Path) -> int:
    return len(list((folder / "receipts").glob("*.json")))


def working_actor(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "_Actor.process" in " ".join(child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def test_killed_runs_end_in_the_same_bytes(
    tmp_path: Path, checkout: Path, write_recipe: Callable[[Path], Path], cli: Callable[..., object]
) -> None:
    quiet, disturbed, log = tmp_path / "quiet", tmp_path / "disturbed", tmp_path / "log.txt"
    undisturbed = fewer_notes(write_recipe(quiet))
    done = cli("run", str(undisturbed), "--until", UNTIL, "--workers", "1")
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    recipe = fewer_notes(write_recipe(disturbed))

    # The driver, while OCR has some shards done and some not.
    process = start(recipe, checkout, log)
    wait_for(lambda: receipts(disturbed / "corpus/ocr") >= 3, process)
    kill(process)
    assert not (disturbed / "corpus/ocr/manifest.json").exists()

    # The driver, in the middle of a training run.
    process = start(recipe, checkout, log)
    metrics = disturbed / "train/scorer.work/metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size > 0, process)
    kill(process)
    assert not (disturbed / "train/scorer/manifest.json").exists()

    # A worker that holds a model, between two of its shards; the driver goes on by itself.
    process = start(recipe, checkout, log)
    wait_for(lambda: receipts(disturbed / "corpus/perplexity_score") >= 3, process)
    actor = working_actor(process)
    if actor is not None:
        os.kill(actor.pid, signal.SIGKILL)
    assert process.wait(timeout=LIMIT_SECONDS) == 0, log.read_text()
    assert actor is not None, "no actor was seen at work"

    # Not only the same: also what a run with one worker makes, while these had two.
    expected, found = data_bytes(quiet), data_bytes(disturbed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []
    assert len([name for name in expected if name.endswith(".parquet")]) > 50
