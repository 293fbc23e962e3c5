"""Runs that are killed or stopped and started again, against one that is left alone."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.train.checkpoint.runs import Run
from tests.train.pipeline.models import make_llama

STEPS = 11  # ceil(2.5 * 17 / 4)
KILLED = -signal.SIGKILL
EVERY_2 = {"keep_every_steps": 2}
"""Checkpoints at those steps and no later, however slow the disk is."""

Start = Callable[..., Run]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, write_tokens: Callable[..., Path]) -> Path:
    return write_tokens(tmp_path_factory.mktemp("data") / "tokens", [9, 8])


@pytest.fixture
def make_run(tmp_path: Path, tiny_model: Path, tokens: Path) -> Start:
    def make(name: str, **changes: Any) -> Run:
        return Run(tmp_path / name, tiny_model, tokens, **changes)

    return make


@pytest.mark.parametrize(
    ("world", "changes"),
    [
        (2, {"zero_stage": 3}),
        (2, {"zero_stage": 1}),
        (1, {"zero_stage": 1, "dtype": "bfloat16"}),
        (1, {"zero_stage": 3, "dtype": "bfloat16"}),
    ],
    ids=["zero3", "zero1", "zero1-bfloat16", "zero3-bfloat16"],
)
def test_a_killed_run_ends_as_if_nothing_had_happened(
    make_run: Start, world: int, changes: dict[str, Any]
) -> None:
    whole = make_run("whole", **changes)
    assert whole.start(world) == [0] * world

    run = make_run("killed", **changes)
    last = world - 1
    # Before the first checkpoint, right after one, between two, and in the last step.
    kills = [(last, 1), (0, 4), (last, 7), (0, STEPS)]
    for rank, step in kills if world > 1 else kills[-1:]:
        codes = run.start(world, kill=(rank, step), checkpoint=EVERY_2)
        assert codes[rank] == KILLED
        assert all(codes), "a worker did not notice that the other one is gone"
        assert not (run.out / "model").exists()
    assert run.start(world) == [0] * world

    assert run.files() == whole.files()
    assert [line["step"] for line in run.metrics()] == list(range(1, STEPS + 1))
    # Each sequence once per epoch, in spite of all the steps that were trained twice.
    flat = [sequence for step in run.seen().values() for sequence in step]
    assert Counter(flat[:17]) == Counter(flat[17:34]) == Counter(range(17))
    assert len(set(flat[34:43])) == 9
    speed = [json.loads(line) for line in (run.out / "logs/speed.jsonl").read_text().splitlines()]
    assert speed[1]["step"] > 8, "the last start did not go on from a checkpoint"


def test_three_allocations_make_one_run(make_run: Start) -> None:
    whole = make_run("whole")
    whole.start(2)
    run = make_run("stopped")
    for stop_at in (3, 8):
        assert run.start(2, stop_at=stop_at, checkpoint={"every_steps": 0}) == [0, 0]
        note = json.loads((run.checkpoints / "stopped.json").read_text())
        assert note == {"step": stop_at, "total_steps": STEPS}
        assert run.saved()[-1] == f"step-{stop_at:08d}"
        assert not (run.out / "model").exists()
    assert run.start(2, checkpoint={"every_steps": 0}) == [0, 0]
    assert run.files() == whole.files()
    assert not (run.checkpoints / "stopped.json").exists()


def test_a_time_limit_stops_after_a_step(make_run: Start) -> None:
    run = make_run("short")
    assert run.start(checkpoint={"every_steps": 0, "stop_after_minutes": 1e-6}) == [0]
    assert run.saved() == ["step-00000001"]


def test_another_layout_of_workers_goes_on(tmp_path: Path, tokens: Path) -> None:
    model = make_llama(tmp_path / "model", vocab_size=300, num_hidden_layers=4)
    whole = Run(tmp_path / "whole", model, tokens)
    whole.start(1)
    expected = whole.losses()
    run = Run(tmp_path / "moved", model, tokens)

    def pipeline(tensor: int, stages: int) -> dict[str, Any]:
        sizes = {"tensor_parallel_size": tensor, "pipeline_parallel_size": stages}
        return {"zero_stage": 1, "parallel": {"engine": "pipeline", **sizes}}

    layouts: list[tuple[int, int | None, dict[str, Any]]] = [
        (4, 2, pipeline(tensor=2, stages=2)),
        (4, 4, pipeline(tensor=1, stages=4)),
        (4, 6, pipeline(tensor=1, stages=1)),
        (2, 8, {"zero_stage": 3}),
        (4, 10, {"zero_stage": 3}),
        (1, None, {"zero_stage": 2, "micro_batch_size": 4}),
    ]
    for world, stop_at, changes in layouts:
        assert run.start(world, stop_at=stop_at, **changes) == [0] * world
        assert len(run.losses()) == (stop_at or STEPS)
        assert run.losses() == pytest.approx(expected[: len(run.losses())], abs=1e-5), changes
    assert len(run.losses()) == STEPS


def test_what_is_kept(make_run: Start) -> None:
    run = make_run("kept")
    keep = {"every_steps": 1, "keep_last": 2, "keep_every_steps": 4}
    run.start(checkpoint=keep)
    # The last step saves nothing: the model itself comes next.
    assert run.saved()[:2] == ["step-00000004", "step-00000008"]
    assert 3 <= len(run.saved()) <= 4
    assert run.saved()[-1] < f"step-{STEPS:08d}"


def test_a_damaged_checkpoint_is_passed_over(make_run: Start) -> None:
    whole = make_run("whole")
    whole.start(2)
    run = make_run("damaged")
    run.start(2, kill=(0, 9), checkpoint=EVERY_2)
    newest, older = run.saved()[::-1][:2]
    assert newest > older >= "step-00000004"
    victim = run.checkpoints / newest / "rank-00001.safetensors"
    content = bytearray(victim.read_bytes())
    content[-5] ^= 1
    victim.write_bytes(content)
    # And one that was being written when the power went.
    torn = run.checkpoints / "step-00000010.writing-abc"
    torn.mkdir()
    assert run.start(2) == [0, 0]
    assert run.files() == whole.files()
    speed = (run.out / "logs/speed.jsonl").read_text().splitlines()
    assert json.loads(speed[1])["step"] == int(older.removeprefix("step-")) + 1
    assert not torn.exists()


def test_another_runs_checkpoint_is_refused(make_run: Start) -> None:
    run = make_run("refused")
    run.start(stop_at=2)
    assert run.start(data="two") != [0]
    error = run.error()
    assert "'tokens' had the fingerprint one, now it has two" in error["what"]
    assert str(run.checkpoints) in error["remedy"] + error["where"]
    assert run.start(learning_rate=1e-3) != [0]
    assert "learning_rate was 0.003, now it is 0.001" in run.error()["what"]
    # What changes no loss is no reason.
    assert run.start(checkpoint={"every_steps": 5}) == [0]
