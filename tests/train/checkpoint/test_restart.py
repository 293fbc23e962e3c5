"""One run on Ray Train whose driver is killed, which is paused by a signal, and loses a worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import ray

from core.errors import Paused
from core.recipe.checkpoint import Checkpoint
from core.recipe.train import Trainer
from core.stage import StageContext
from tests.train.checkpoint.gates import Gate, wait_for
from train.loop import train_loop
from train.spec import LoopSpec
from train.stage import TrainStage

SECTION = Trainer(
    epochs=9.0,
    global_batch_sequences=4,
    micro_batch_size=2,
    learning_rate=1e-3,
    checkpoint=Checkpoint(every_steps=5, max_restarts=1),
)
STEPS = 39  # ceil(9 * 17 / 4)

DRIVER = """
import sys
from pathlib import Path
import ray
import train.stage
from core.recipe.train import Trainer
from core.stage import StageContext
from tests.train.checkpoint.gates import Gate

address, section, run_dir, root, out, note = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
ctx = StageContext(Path(run_dir), Path(root), 5)
section = Trainer.model_validate_json(section)
train.stage.launch = Gate(Path(note), 8).launch()
train.stage.TrainStage("train.cpt", section, "corpus.tokens", "train.base").run(ctx, Path(out))
"""


@pytest.fixture
def ctx(tmp_path: Path, tiny_model: Path, write_tokens: Callable[..., Path]) -> StageContext:
    run = tmp_path / "runs" / "test"
    write_tokens(run / "corpus" / "tokens", [9, 8])
    shutil.copytree(tiny_model, run / "train" / "base" / "model")
    return StageContext(run_dir=run, root=tmp_path, seed=5)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.usefixtures("ray_session", "process_group")
def test_kills_and_a_pause_change_nothing(
    ctx: StageContext, tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    # The driver is killed, and its worker with it.
    first = tmp_path / "first"
    first.mkdir()
    gate = Gate(tmp_path / "first.note", 8)
    address = ray.get_runtime_context().gcs_address
    paths = [str(path) for path in (ctx.run_dir, tmp_path, first, gate.note)]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, address, SECTION.model_dump_json(), *paths], cwd=checkout
    )
    try:
        pid = gate.pid()
        wait_for(lambda: list(saved.glob("step-*/checkpoint.json")), "checkpoint")
    finally:
        driver.kill()
        driver.wait()
    wait_for(lambda: is_gone(pid), "end of the worker")

    # The next start is told to stop, as by a scheduler.
    second = tmp_path / "second"
    second.mkdir()
    gate = Gate(tmp_path / "second.note", 17)
    monkeypatch.setattr("train.stage.launch", gate.launch())
    handler = signal.getsignal(signal.SIGUSR1)
    with (
        gate.when_reached(lambda _: os.kill(os.getpid(), signal.SIGUSR1)),
        pytest.raises(Paused, match=rf"stopped at step 17 of {STEPS}") as paused,
    ):
        stage.run(ctx, second)
    assert paused.value.exit_code == 0
    assert signal.getsignal(signal.SIGUSR1) is handler
    assert lines(second / "logs/speed.jsonl")[1]["step"] == 6
    assert not (second / "model").exists()

    # And the last loses its worker.
    third = tmp_path / "third"
    third.mkdir()
    gate = Gate(tmp_path / "third.note", 28)
    monkeypatch.setattr("train.stage.launch", gate.launch())
    with gate.when_reached(lambda pid: os.kill(pid, signal.SIGKILL)):
        result = stage.run(ctx, third)
    speed = lines(third / "logs/speed.jsonl")
    starts = [number for number, line in enumerate(speed) if "pid" in line]
    assert len(starts) == 2
    assert speed[1]["step"] == 18, "from where it was stopped"
    assert 18 <= speed[starts[1] + 1]["step"] <= 26
    for name in ("metrics.jsonl", "model/model.safetensors", "model/config.json"):
        assert (third / name).read_bytes() == (whole / name).read_bytes(), name
    assert result.metrics["steps"] == STEPS
    assert saved.is_dir()
    stage.completed(ctx)
    assert not saved.exists()
