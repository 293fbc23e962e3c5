"""Saving beside the training, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from core.errors import InputError, StageError
from core.recipe.train import Trainer
from tests.train.checkpoint.runs import Run
from train.checkpoint.export import export_model
from train.checkpoint.files import Snapshot
from train.checkpoint.format import MARKER_NAME, Marker, SavedFile
from train.checkpoint.saver import Checkpoints
from train.data import SequenceDataset
from train.engine import summed_loss
from train.loop import train_loop
from train.workers import Workers
from train.zero import ZeroEngine

STEPS = 11


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path, write_tokens: Callable[..., Path]) -> Run:
    made = Run(tmp_path / "run", tiny_model, write_tokens(tmp_path / "tokens", [9, 8]))
    made.out.mkdir(parents=True)
    return made


def train(run: Run, **checkpoint: Any) -> None:
    train_loop(asdict(run.spec(1, checkpoint=checkpoint)))


@pytest.mark.usefixtures("process_group")
def test_a_checkpoint_is_the_model_of_its_step(run: Run, tmp_path: Path) -> None:
    """The exported weights of step n have the loss that step n + 1 began with."""
    train(run, every_steps=0, keep_every_steps=4)
    assert run.saved() == ["step-00000004", "step-00000008"]
    section = Trainer.model_validate(run.spec(1).section)
    dataset = SequenceDataset(run.tokens)
    order = dataset.order(section.epochs, section.global_batch_sequences, seed=5)
    for step in (4, 8):
        out = tmp_path / f"exported-{step}"
        checkpoint = run.checkpoints / f"step-{step:08d}"
        export_model(checkpoint, run.model, out, dtype="float32")
        model = AutoModelForCausalLM.from_pretrained(out)
        assert (out / "tokenizer.json").is_file()
        batch = dataset.read(order.step(step + 1))
        with torch.no_grad():
            logits = model(
                input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False
            ).logits
        loss = float(summed_loss(logits, batch.labels)) / batch.trained_tokens
        assert loss == pytest.approx(run.losses()[step], abs=1e-5)
        marker = Marker.load(checkpoint)
        assert marker is not None
        assert (marker.epoch, marker.sequence) == order.cursor(step)
        assert marker.identity["data"] == {"tokens": "one"}
        lines = (checkpoint / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(1, step + 1))
    export_model(checkpoint, run.model, tmp_path / "half")
    half = AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto")
    assert half.dtype == torch.bfloat16
    with pytest.raises(InputError, match="not a complete checkpoint"):
        export_model(run.checkpoints, run.model, tmp_path / "none")


@pytest.mark.usefixtures("process_group")
def test_training_goes_on_while_a_checkpoint_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, steps_when_written = Snapshot.write, []

    def slow(self: Snapshot, path: Path) -> SavedFile:
        # As long as two steps, which would never come if training waited for it.
        wanted, end = min(len(run.metrics()) + 2, STEPS), time.monotonic() + 120
        while len(run.metrics()) < wanted:
            assert time.monotonic() < end, "training does not go on"
            time.sleep(0.01)
        steps_when_written.append(len(run.metrics()))
        return plain(self, path)

    monkeypatch.setattr(Snapshot, "write", slow)
    train(run, every_steps=1)
    # Never two at a time; what became due meanwhile is saved as soon as there is room.
    assert steps_when_written[0] > 2
    assert len(steps_when_written) < STEPS - 1
    assert run.saved()


@pytest.mark.usefixtures("process_group")
def test_what_cannot_be_written_ends_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Snapshot, path: Path) -> SavedFile:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Snapshot, "write", full)
    with pytest.raises(StageError, match=r"worker 0 could not write.*No space left") as error:
        train(run, every_steps=3)
    assert "keep_last" in error.value.remedy
    assert run.metrics()[-1]["step"] < STEPS
    assert not list(run.checkpoints.glob(f"*/{MARKER_NAME}"))


@pytest.mark.usefixtures("process_group")
def test_the_clock_makes_checkpoints_too(run: Run) -> None:
    train(run, every_steps=0, every_minutes=1e-9, keep_last=99)
    assert "step-00000001" in run.saved()


@pytest.mark.usefixtures("process_group")
def test_copies_are_made_of_every_checkpoint(run: Run, tmp_path: Path) -> None:
    train(run, every_steps=0, keep_every_steps=4, upload_to=str(tmp_path / "copies"))
    copies = sorted(path.name for path in (tmp_path / "copies").iterdir())
    assert copies == ["step-00000004", "step-00000008"]
    for path in (tmp_path / "copies").iterdir():
        assert Marker.load(path) is not None


@pytest.mark.usefixtures("process_group")
def test_a_rewind_goes_back_to_the_checkpoint_before_a_step(run: Run) -> None:
    train(run, every_steps=0, keep_every_steps=3)
    assert run.saved() == ["step-00000003", "step-00000006", "step-00000009"]
    losses = run.losses()
    spec = run.spec(1)
    section = Trainer.model_validate(spec.section)
    dataset = SequenceDataset(run.tokens)
    order = dataset.order(section.epochs, section.global_batch_sequences, seed=5)
    engine = ZeroEngine(run.model, section)
    checkpoints = Checkpoints(spec, section, engine, order, Workers())
    assert checkpoints.resume() == 9
    assert checkpoints.rewind(before=8) == 6
    assert run.saved() == ["step-00000003", "step-00000006"]
    assert run.losses() == losses[:6]
    batch = dataset.read(order.step(7)).split(1)
    assert engine.step(batch, 1e-3).loss == losses[6]
    assert checkpoints.rewind(before=1) == 0
    assert run.saved() == []
    checkpoints.close(complete=False)
