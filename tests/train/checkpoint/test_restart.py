"""One run on Ray Train whose driver is killed, which is paused by a signal, and loses a worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import ray

from core.errors import Paused
from core.recipe.checkpoint import Checkpoint
from core.recipe.train import Trainer
from core.stage import StageContext
from train.loop import train_loop
from train.spec import LoopSpec
from train.stage import TrainStage

SECTION = Trainer(
    epochs=40.0,
    global_batch_sequences=4,
    micro_batch_size=2,
    learning_rate=1e-3,
    checkpoint=Checkpoint(every_steps=5, max_restarts=1),
)
STEPS = 170

DRIVER = """
import sys
from pathlib import Path
import ray
from core.recipe.train import Trainer
from core.stage import StageContext
from train.stage import TrainStage

address, section, run_dir, root, out = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
ctx = StageContext(Path(run_dir), Path(root), 5)
stage = TrainStage("train.cpt", Trainer.model_validate_json(section), "corpus.tokens", "train.base")
stage.run(ctx, Path(out))
"""


@pytest.fixture
def ctx(tmp_path: Path, tiny_model: Path, write_tokens: Callable[..., Path]) -> StageContext:
    run = tmp_path / "runs" / "test"
    write_tokens(run / "corpus" / "tokens", [9, 8])
    shutil.copytree(tiny_model, run / "train" / "base" / "model")
    return StageContext(run_dir=run, root=tmp_path, seed=5)


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if "\n" in line]


def wait_for_step(out: Path, step: int) -> None:
    end = time.monotonic() + 120
    while not any(line["step"] >= step for line in lines(out / "metrics.jsonl")):
        assert time.monotonic() < end, f"step {step} was not reached"
        time.sleep(0.05)


@contextmanager
def at_step(out: Path, step: int, do: Callable[[], None]) -> Iterator[None]:
    def wait() -> None:
        wait_for_step(out, step)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def kill_worker(out: Path) -> None:
    os.kill(lines(out / "logs/speed.jsonl")[0]["pid"], signal.SIGKILL)


@pytest.mark.usefixtures("ray_session", "process_group")
def test_kills_and_a_pause_change_nothing(ctx: StageContext, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    train_loop(
        asdict(
            LoopSpec(
                stage="train.cpt",
                model=ctx.model_path("train.base"),
                tokens=str(ctx.folder("corpus.tokens")),
                out=str(whole),
                section=SECTION.model_copy(update={"checkpoint": Checkpoint()}).model_dump(),
                seed=5,
                threads=1,
                started=time.time(),
                checkpoints=str(tmp_path / "none"),
            )
        )
    )
    assert len(lines(whole / "metrics.jsonl")) == STEPS
    stage = TrainStage("train.cpt", SECTION, "corpus.tokens", "train.base")
    saved = stage.checkpoint_folder(ctx)

    first = tmp_path / "first"
    first.mkdir()
    address = ray.get_runtime_context().gcs_address
    arguments = [address, SECTION.model_dump_json(), str(ctx.run_dir), str(tmp_path), str(first)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments])
    try:
        wait_for_step(first, 20)
    finally:
        driver.kill()
        driver.wait()
    assert list(saved.glob("step-*/checkpoint.json"))

    second = tmp_path / "second"
    second.mkdir()
    handler = signal.getsignal(signal.SIGUSR1)
    with (
        at_step(second, 60, lambda: os.kill(os.getpid(), signal.SIGUSR1)),
        pytest.raises(Paused, match=rf"stopped at step \d+ of {STEPS}") as paused,
    ):
        stage.run(ctx, second)
    assert paused.value.exit_code == 0
    assert signal.getsignal(signal.SIGUSR1) is handler
    assert lines(second / "logs/speed.jsonl")[1]["step"] > 1
    assert not (second / "model").exists()

    third = tmp_path / "third"
    third.mkdir()
    with at_step(third, 100, lambda: kill_worker(third)):
        result = stage.run(ctx, third)
    starts = [line for line in lines(third / "logs/speed.jsonl") if "pid" in line]
    assert len(starts) == 2
    for name in ("metrics.jsonl", "model/model.safetensors", "model/config.json"):
        assert (third / name).read_bytes() == (whole / name).read_bytes(), name
    assert result.metrics["steps"] == STEPS
    assert saved.is_dir()
    stage.completed(ctx)
    assert not saved.exists()
