"""The loop and what watches it: spikes left out, documents named, slow and stuck workers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from core.errors import StageError
from core.recipe.evaluate import Evaluate
from core.shards import read_shard, write_shard
from tests.train.checkpoint.runs import SECTION, Run
from tests.train.ranks import run_ranks
from tests.train.reference import reference_run
from tests.train.test_tracking import scalars
from train.data import MicroBatch, SequenceDataset, rank_batches
from train.evaluation import evaluation_files, pack_sets
from train.hang import Watchdog
from train.loop import train_loop
from train.schedule import learning_rate
from train.spec import LoopSpec
from train.zero import ZeroEngine

SEQUENCES, STEPS, SPIKE = 48, 12, 7
WATCH = {"spike_factor": 1.5, "spike_window_steps": 8, "straggler_every_steps": 4}
"""A factor for a loss that falls fast: twelve steps are no time to settle."""

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def odd_tokens(tmp_path_factory: pytest.TempPathFactory, write_tokens: Callable[..., Path]) -> Path:
    """Few different tokens, but for the sequences of one step: its loss jumps."""
    folder = write_tokens(tmp_path_factory.mktemp("data") / "odd", [SEQUENCES], highest_token=12)
    order = SequenceDataset(folder).order(1.0, 4, seed=5)
    path = folder / "part-00000.parquet"
    table = read_shard(path)
    length = len(table["input_ids"][0])
    ids = table["input_ids"].combine_chunks().flatten().to_numpy().reshape(-1, length).copy()
    odd = order.step(SPIKE)
    ids[odd, 1:] = np.random.default_rng(3).integers(200, 256, (len(odd), length - 1))
    mask = np.ones(ids.size, dtype=np.uint8)
    for name, values in (("input_ids", ids.ravel().astype(np.int32)), ("loss_mask", mask)):
        column = pa.FixedSizeListArray.from_arrays(pa.array(values), length)
        table = table.set_column(
            table.schema.get_field_index(name), table.schema.field(name), column
        )
    write_shard(path, table, row_group_rows=4)
    return folder


@pytest.fixture
def make_run(tmp_path: Path, tiny_model: Path, odd_tokens: Path) -> Callable[..., Run]:
    def make(name: str, on_spike: str = "report", **changes: Any) -> Run:
        watch = {**WATCH, "on_spike": on_spike, **changes.pop("watch", {})}
        changes = {"epochs": 1.0, "learning_rate": 1e-2, "watch": watch, **changes}
        return Run(tmp_path / name, tiny_model, odd_tokens, **changes)

    return make


def spikes(run: Run) -> list[dict[str, Any]]:
    return list(json.loads((run.out / "spikes.json").read_text()))


def documents(run: Run, step: int) -> list[str]:
    sequences = SequenceDataset(run.tokens).order(1.0, 4, seed=5).step(step)
    return sorted(f"doc-{i}-{part}" for i in sequences.tolist() for part in "ab")


def without_the_spike(run: Run, model: Path) -> list[float]:
    """Plain PyTorch, which never sees that step."""
    section = SECTION.model_copy(update=run.changes)
    dataset = SequenceDataset(run.tokens)
    order = dataset.order(1.0, 4, seed=5)
    batches = rank_batches(dataset, order, rank=0, world_size=1, micro_batch=1, left_out={SPIKE})
    steps = [step for step in range(1, STEPS + 1) if step != SPIKE]
    rates = [learning_rate(s, STEPS, section.learning_rate, section.schedule) for s in steps]
    return reference_run(model, section, list(batches), rates).losses


@pytest.mark.parametrize(
    ("world", "killed_after", "changes"),
    # Before a checkpoint knows of the spike, and after one does.
    [(2, SPIKE, {"zero_stage": 3}), (1, SPIKE + 3, {"zero_stage": 1, "dtype": "bfloat16"})],
    ids=["zero3", "zero1-bfloat16"],
)
def test_a_spike_is_left_out_whatever_is_killed(
    make_run: Callable[..., Run],
    tiny_model: Path,
    world: int,
    killed_after: int,
    changes: dict[str, Any],
) -> None:
    whole = make_run("whole", "rewind", **changes)
    assert whole.start(world) == [0] * world
    (spike,) = spikes(whole)
    assert (spike["step"], spike["action"]) == (SPIKE, "left out")
    assert spike["deviations"] > 1.5
    assert spike["documents"] == documents(whole, SPIKE)
    assert [line["step"] for line in whole.metrics()] == [
        step for step in range(1, STEPS + 1) if step != SPIKE
    ]
    bound = 0.05 if "dtype" in changes else 1e-5
    assert whole.losses() == pytest.approx(without_the_spike(whole, tiny_model), abs=bound)

    run = make_run("killed", "rewind", **changes)
    codes = run.start(world, kill=(0, killed_after), checkpoint={"keep_every_steps": 2})
    assert KILLED in codes
    markers = [json.loads(path.read_text()) for path in run.checkpoints.glob("*/checkpoint.json")]
    known = [SPIKE] if killed_after > SPIKE else []
    assert max(markers, key=lambda marker: marker["step"])["left_out"] == known
    assert run.start(world) == [0] * world
    assert run.files() == whole.files()


def test_a_spike_is_reported_and_too_many_end_the_run(make_run: Callable[..., Run]) -> None:
    run = make_run("reported")
    assert run.start() == [0]
    (spike,) = spikes(run)
    assert (spike["step"], spike["action"]) == (SPIKE, "reported")
    assert spike["loss"] == run.losses()[SPIKE - 1]
    assert len(run.metrics()) == STEPS
    said = (run.out / "logs/train-00000.log").read_text()
    assert f"WARNING train.cpt: the loss of step {SPIKE} jumped to" in said

    run = make_run("often", "rewind", watch={"max_rewinds": 0})
    assert run.start() != [0]
    assert f"jumped at step {SPIKE}, after 0 steps were left out" in run.error()["what"]
    assert "spikes.json" in run.error()["where"]


def observed(run: Run, world: int = 1, **changes: Any) -> LoopSpec:
    run.out.mkdir(parents=True)
    return run.spec(world, **changes)


@pytest.mark.usefixtures("process_group")
def test_a_loss_that_is_no_number_names_the_documents(make_run: Callable[..., Run]) -> None:
    run = make_run("diverged", learning_rate=1e30, adam_epsilon=1e-30)
    with pytest.raises(StageError, match=r"became (nan|inf) at step (\d) of 12, on") as error:
        train_loop(asdict(observed(run)))
    bad = json.loads((run.out / "logs/bad_batch.json").read_text())
    assert bad["documents"] == documents(run, bad["step"])
    assert f"{', '.join(bad['documents'][:5])} and 3 more" in error.value.what
    assert "bad_batch.json" in error.value.where
    assert "learning_rate" in error.value.remedy


def held_out(run: Run, model: Path, folder: Path) -> tuple[Evaluate, dict[str, str]]:
    folder.mkdir()
    (folder / "stars.md").write_text("A star is a sun. A galaxy holds many stars.")
    section = Evaluate.model_validate(
        {"every_steps": 5, "sets": [{"name": "stars", "paths": ["stars.md"]}]}
    )
    files = evaluation_files(section, folder, "train.cpt")
    return section, pack_sets(section, files, model, 32, folder / "packed")


def _slow_rank(spec: dict[str, Any]) -> None:
    plain = ZeroEngine._logits
    if int(os.environ["RANK"]) == 1:

        def slow(self: ZeroEngine, batch: MicroBatch) -> torch.Tensor:
            time.sleep(0.15)
            return plain(self, batch)

        ZeroEngine._logits = slow  # type: ignore[method-assign]
    train_loop(spec)


def test_everything_is_told(make_run: Callable[..., Run], tiny_model: Path, tmp_path: Path) -> None:
    """Two workers, one of them slow: metrics as of a run that nobody looks at, and all the rest."""
    plain = make_run("plain")
    assert plain.start() == [0]
    run = make_run("told", tracking={"peak_tflop_per_s": 0.1})
    evaluate, folders = held_out(run, tiny_model, tmp_path / "heldout")
    spec = observed(run, 2, evaluate=evaluate.model_dump(), evaluation=folders)
    run_ranks(2, _slow_rank, asdict(spec))

    assert run.losses() == pytest.approx(plain.losses(), abs=1e-5)
    lines = [json.loads(line) for line in (run.out / "evaluation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 5, 10, 12]
    assert lines[-1]["evaluation"]["stars"] != lines[0]["evaluation"]["stars"]

    start, *speed = [
        json.loads(line) for line in (run.out / "logs/speed.jsonl").read_text().splitlines()
    ]
    assert set(start["startup_seconds"]) == {"workers", "data", "engine", "resume"}
    assert [line["step"] for line in speed] == list(range(1, STEPS + 1))
    for line in speed:
        assert line["tokens_per_s"] == pytest.approx(4 * 32 / line["seconds"], rel=0.01)
        assert line["mfu"] == pytest.approx(line["tflop_per_s"] / 0.1, rel=0.01)
        assert ("own_seconds_most" in line) == (line["step"] % 4 == 0)
        assert (line["evaluation_seconds"] > 0) == (line["step"] in (5, 10))
    for line in speed[3::4]:
        (slow,) = line["stragglers"]
        assert slow["worker"] == 1
        assert slow["seconds"] > 0.25 > line["own_seconds_median"]
    assert "slow workers: 1 on" in (run.out / "logs/train-00000.log").read_text()

    board = scalars(run.out / "logs/tensorboard")
    assert [value for _, value in board["loss"]] == pytest.approx(run.losses())
    assert [step for step, _ in board["evaluation/stars"]] == [0, 5, 10, 12]
    assert {"tokens_per_s", "mfu", "update_norm", "memory_bytes", "data_wait_seconds"} <= set(board)


@pytest.mark.usefixtures("process_group")
def test_looking_changes_nothing(
    make_run: Callable[..., Run], tiny_model: Path, tmp_path: Path
) -> None:
    """Evaluating, or choosing deterministic kernels on a CPU, leaves every byte as it was."""
    plain = make_run("plain", zero_stage=3)
    train_loop(asdict(observed(plain)))
    run = make_run("looked", zero_stage=3)
    evaluate, folders = held_out(run, tiny_model, tmp_path / "heldout")
    changes = {"evaluate": evaluate.model_dump(), "evaluation": folders}
    train_loop(asdict(observed(run, deterministic=True, **changes)))
    assert not torch.are_deterministic_algorithms_enabled()
    files = run.files()
    assert files.pop("evaluation.jsonl").count(b"\n") == 4
    assert files == plain.files()


def test_a_run_that_goes_on_has_the_same_evaluations_and_events(
    make_run: Callable[..., Run], tiny_model: Path, tmp_path: Path
) -> None:
    whole, run = make_run("whole"), make_run("stopped")
    evaluate, folders = held_out(run, tiny_model, tmp_path / "heldout")
    changes = {"evaluate": evaluate.model_dump(), "evaluation": folders}
    assert whole.start(**changes) == [0]
    for stop_at in (6, 10, None):
        assert run.start(stop_at=stop_at, **changes) == [0]
    assert run.files() == whole.files()
    assert b"evaluation" in run.files()["evaluation.jsonl"]
    boards = [scalars(r.out / "logs/tensorboard") for r in (whole, run)]
    for name in ("loss", "evaluation/stars"):
        assert boards[1][name] == boards[0][name]


def _stuck(spec: dict[str, Any]) -> None:
    plain, watchdogs = Watchdog.__enter__, []

    def enter(self: Watchdog) -> Watchdog:
        watchdogs.append(self)
        return plain(self)

    def waits_for_nobody(self: ZeroEngine, batch: MicroBatch) -> torch.Tensor:
        # Opening the engine may take long on a busy machine; from here on nothing should.
        watchdogs[0]._limit_seconds = 0.5
        time.sleep(3000)
        raise AssertionError

    Watchdog.__enter__ = enter  # type: ignore[method-assign]
    ZeroEngine._logits = waits_for_nobody  # type: ignore[method-assign]
    train_loop(spec)


def test_a_stuck_worker_says_where(make_run: Callable[..., Run]) -> None:
    run = make_run("stuck", watch={"hang_minutes": 40 / 60})
    with pytest.raises(BrokenProcessPool):
        run_ranks(1, _stuck, asdict(observed(run)))
    text = (run.out / "logs/hang-00000.txt").read_text()
    assert "train.cpt, worker 0: no step for" in text
    assert "waits_for_nobody" in text
