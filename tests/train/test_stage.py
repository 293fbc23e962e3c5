"""Whole training stages on real Ray Train workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import InputError, StageError
from core.recipe.train import Schedule, Trainer
from core.stage import JobResult, StageContext
from tests.train.ranks import run_ranks
from train.launch import stage_error
from train.loop import train_loop
from train.restarts import EndAtOnce
from train.spec import LoopSpec
from train.stage import TrainStage

SECTION = Trainer(
    epochs=1.75,
    global_batch_sequences=4,
    micro_batch_size=1,
    learning_rate=3e-3,
    schedule=Schedule(kind="cosine", warmup_steps=2),
    max_grad_norm=0.5,
)
SEQUENCES = 17
STEPS = 8  # ceil(ceil(1.75 * 17) / 4)


@pytest.fixture(scope="module")
def ctx(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, write_tokens: Callable[..., Path]
) -> StageContext:
    root = tmp_path_factory.mktemp("run")
    run = root / "runs" / "test"
    write_tokens(run / "corpus" / "tokens", [9, 8])
    shutil.copytree(tiny_model, run / "train" / "base" / "model")
    return StageContext(run_dir=run, root=root, seed=5)


def train(ctx: StageContext, out: Path, **changes: object) -> tuple[TrainStage, JobResult]:
    section = SECTION.model_copy(update=changes)
    stage = TrainStage("train.cpt", section, "corpus.tokens", "train.base")
    out.mkdir(parents=True)
    return stage, stage.run(ctx, out)


def train_here(ctx: StageContext, out: Path, **changes: object) -> None:
    """Runs the loop as the only worker, in this process."""
    section = SECTION.model_copy(update=changes)
    spec = LoopSpec(
        stage="train.cpt",
        model=ctx.model_path("train.base"),
        tokens=str(ctx.folder("corpus.tokens")),
        out=str(out),
        section=section.model_dump(),
        seed=ctx.seed,
        threads=1,
        started=time.time(),
        checkpoints=str(out.with_name(out.name + "-checkpoints")),
    )
    train_loop(asdict(spec))


def train_on_ranks(ctx: StageContext, out: Path, **changes: object) -> None:
    """Runs the loop on processes that are not Ray Train's."""
    section = SECTION.model_copy(update=changes)
    spec = TrainStage("train.cpt", section, "corpus.tokens", "train.base").spec(
        ctx, out, section, sequence_length=32
    )
    spec = replace(
        spec,
        tokens=str(ctx.folder("corpus.tokens")),
        checkpoints=str(out.with_name(out.name + "-checkpoints")),
    )
    run_ranks(section.num_workers, train_loop, asdict(spec))


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def files(out: Path) -> dict[str, bytes]:
    """Contents of everything that the runner puts into the manifest."""
    found = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if not name.startswith("logs/")}


@pytest.mark.usefixtures("ray_session", "process_group")
def test_training_does_not_depend_on_workers_zero_stage_or_chance(
    ctx: StageContext, tmp_path: Path
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    train_here(ctx, tmp_path / "one")
    stage, result = train(ctx, tmp_path / "two", num_workers=2)
    train_on_ranks(ctx, tmp_path / "again", num_workers=2)
    train_on_ranks(ctx, tmp_path / "three", num_workers=2, zero_stage=3, micro_batch_size=2)

    one = metrics(tmp_path / "one")
    for other in (metrics(tmp_path / "two"), metrics(tmp_path / "three")):
        for name in ("loss", "grad_norm", "update_norm", "learning_rate", "tokens", "epoch"):
            expected = [line[name] for line in one]
            assert [line[name] for line in other] == pytest.approx(expected, rel=1e-4, abs=1e-5)

    # Two equal runs in different folders, of workers started differently: the same files.
    two = files(tmp_path / "two")
    assert two == files(tmp_path / "again")
    assert {"metrics.jsonl", "model/model.safetensors", "model/tokenizer.json"} <= set(two)
    assert not any(str(tmp_path).encode() in content for content in two.values())

    assert [line["step"] for line in one] == list(range(1, STEPS + 1))
    assert one[1]["learning_rate"] == SECTION.learning_rate
    assert one[-1]["learning_rate"] == pytest.approx(SECTION.learning_rate * 0.1)
    assert one[-1]["epoch"] == pytest.approx(30 / 17, abs=1e-6)
    assert (result.rows_in, result.rows_out) == (SEQUENCES, SEQUENCES)
    assert result.metrics["steps"] == STEPS
    assert result.metrics["padding_sequences"] == 2
    assert result.metrics["trained_tokens"] == sum(line["tokens"] for line in one)
    assert result.metrics["last_loss"] == pytest.approx(one[-1]["loss"], abs=1e-5)
    assert stage.progress(tmp_path / "two") == (STEPS, STEPS, f"loss {one[-1]['loss']:.3f}")

    # Ray Train leaves nothing behind.
    logs = {p.name for p in (tmp_path / "two" / "logs").iterdir()}
    assert logs == {"speed.jsonl", "tensorboard"}
    assert signal.getsignal(signal.SIGINT) is handler
    assert not [name for name in os.environ if name.startswith("RAY_TRAIN_")]

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "two" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "two" / "model")
    assert result.metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert tokenizer.chat_template
    assert tokenizer.eos_token_id in model.generation_config.eos_token_id


@pytest.mark.usefixtures("process_group")
def test_a_diverging_loss_names_the_step(ctx: StageContext, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"became (nan|inf) at step \d of 8") as error:
        train_here(ctx, tmp_path / "out", learning_rate=1e30, adam_epsilon=1e-30)
    assert error.value.where.startswith("train.cpt; all documents:")
    assert "learning_rate" in error.value.remedy
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.usefixtures("ray_session")
def test_one_failing_worker_ends_the_run(ctx: StageContext, tmp_path: Path) -> None:
    """The other worker waits for it in an all-reduce and must not wait for ever."""
    other = StageContext(tmp_path / "run", ctx.root, 5)
    shutil.copytree(ctx.run_dir, other.run_dir)
    shard = other.folder("corpus.tokens") / "part-00000.parquet"
    table = pq.read_table(shard)
    rows = table.to_pylist()
    rows[4]["input_ids"][3] = 5000
    pq.write_table(pa.Table.from_pylist(rows, table.schema), shard)
    with pytest.raises(StageError, match="token 5000 is outside the model's vocabulary") as error:
        train(other, tmp_path / "out", num_workers=2)
    # Not after all restarts, which would have met it again.
    assert isinstance(error.value.__cause__, ControllerError)


@pytest.mark.usefixtures("ray_session")
def test_a_small_cluster_is_an_error_at_once(ctx: StageContext, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="3 training workers need 3 CPUs, the Ray cluster has 2"):
        train(ctx, tmp_path / "cpus", num_workers=3)
    with pytest.raises(StageError, match="need 1 GPUs, the Ray cluster has 0"):
        train(ctx, tmp_path / "gpus", use_gpu=True)


def test_a_missing_model_is_an_error(ctx: StageContext, tmp_path: Path) -> None:
    stage = TrainStage("train.cpt", SECTION, "corpus.tokens", "models/absent")
    assert stage.inputs == ("corpus.tokens",)
    with pytest.raises(InputError, match="does not exist") as error:
        stage.run(ctx, tmp_path)
    assert error.value.where == "train.cpt.init"


def test_the_fingerprint_follows_what_is_trained(ctx: StageContext, tiny_model: Path) -> None:
    stage = TrainStage("train.sft", SECTION, "synth.tokens", "train.cpt")
    assert stage.inputs == ("train.cpt", "synth.tokens")
    assert stage.source_files(ctx) == []
    hotter = TrainStage(
        "train.sft", SECTION.model_copy(update={"learning_rate": 1.0}), "synth.tokens", "train.cpt"
    )
    assert stage.config_digest(ctx) != hotter.config_digest(ctx)
    # A user's folder counts by its content, not by where it lies.
    local = TrainStage("train.sft", SECTION, "synth.tokens", str(tiny_model))
    assert str(tiny_model) not in json.dumps(local.config())
    names = {p.name for p in local.source_files(ctx)}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names


def test_what_is_only_looked_at_is_not_in_the_fingerprint(ctx: StageContext) -> None:
    def digest(**changes: object) -> str:
        section = Trainer.model_validate({**SECTION.model_dump(), **changes})
        return TrainStage("train.cpt", section, "corpus.tokens", "train.base").config_digest(ctx)

    plain = digest()
    assert digest(watch={"spike_factor": 9, "hang_minutes": 5}) == plain
    assert digest(tracking={"tensorboard": False}, plan_tokens=7) == plain
    # Which steps are left out decides what is learned.
    rewind = digest(watch={"on_spike": "rewind"})
    assert len({plain, rewind, digest(watch={"on_spike": "rewind", "spike_factor": 9})}) == 3
    assert digest(watch={"on_spike": "rewind", "max_rewinds": 1}) == rewind


def test_held_out_texts_are_sources(ctx: StageContext) -> None:
    (ctx.root / "heldout").mkdir()
    (ctx.root / "heldout" / "stars.md").write_text("A star is a sun.")
    evaluate = {"every_steps": 5, "sets": [{"name": "stars", "paths": ["heldout"]}]}
    section = Trainer.model_validate({**SECTION.model_dump(), "evaluate": evaluate})
    stage = TrainStage("train.cpt", section, "corpus.tokens", "train.base")
    assert [path.name for path in stage.source_files(ctx)] == ["stars.md"]


def test_progress_before_and_during_a_run(tmp_path: Path) -> None:
    stage = TrainStage("train.cpt", SECTION, "corpus.tokens", "train.base")
    assert stage.progress(tmp_path) is None
    line = '{"step": 3, "total_steps": 9, "loss": 2.0}\n'
    (tmp_path / "metrics.jsonl").write_text(line + '{"step": 4, "tot')
    assert stage.progress(tmp_path) == (3, 9, "loss 2.000")


def test_worker_errors_become_three_lines(tmp_path: Path) -> None:
    lost = RuntimeError("Connection closed by peer\nat 0x1")
    own = StageError("the loss became nan", where="train.cpt", remedy="lower it")
    error = stage_error(WorkerGroupError("failed", {0: lost}), "train.cpt", tmp_path)
    assert error.what == "training worker 0 failed: RuntimeError: Connection closed by peer"
    # The worker that fell out of the all-reduce fails first, but says less.
    assert stage_error(WorkerGroupError("failed", {0: lost, 1: own}), "train.cpt", tmp_path) is own
    full = RuntimeError("I/O error: No space left on device (os error 28)")
    error = stage_error(WorkerGroupError("failed", {0: lost, 1: full}), "train.cpt", tmp_path)
    assert "is full" in error.what
    assert error.where == str(tmp_path)
    assert stage_error(ControllerError(own), "train.cpt", tmp_path) is own
    EndAtOnce(str(tmp_path)).after_exception(None, {0: lost})
    with pytest.raises(StageError, match="the loss became nan"):
        EndAtOnce(str(tmp_path)).after_exception(None, {0: lost, 1: own})
    error = stage_error(ControllerError(OSError("disk full")), "train.cpt", tmp_path)
    assert error.what == "Ray Train failed: OSError: disk full"
