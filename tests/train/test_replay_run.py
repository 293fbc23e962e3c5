"""Training with replay: what every batch holds, whoever trains on it, and what the stage says."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.recipe.train import Trainer
from core.stage import StageContext
from train.data import SequenceDataset
from train.loop import train_loop
from train.order import PADDING
from train.spec import LoopSpec
from train.stage import TrainStage

SECTION = Trainer(epochs=2.5, global_batch_sequences=4, micro_batch_size=1, learning_rate=1e-3)
CORPUS, REPLAY = 11, [3, 4, 2]


@pytest.fixture(scope="module")
def ctx(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, write_tokens: Callable[..., Path]
) -> StageContext:
    root = tmp_path_factory.mktemp("run")
    run = root / "runs" / "test"
    write_tokens(run / "corpus" / "tokens", [6, 5])
    epochs = [[0, 0, 0], [1, 1], [1, 1, 2, 2]]
    write_tokens(run / "corpus" / "replay", [3, 2, 4], epochs=epochs, first=CORPUS)
    shutil.copytree(tiny_model, run / "train" / "base" / "model")
    return StageContext(run_dir=run, root=root, seed=5)


def _stage(section: Trainer = SECTION, replay: str | None = "corpus.replay") -> TrainStage:
    return TrainStage("train.cpt", section, "corpus.tokens", "train.base", replay)


def _train_here(ctx: StageContext, out: Path, replay: bool) -> list[dict[str, Any]]:
    spec = LoopSpec(
        stage="train.cpt",
        model=ctx.model_path("train.base"),
        tokens=str(ctx.folder("corpus.tokens")),
        out=str(out),
        section=SECTION.model_dump(),
        seed=ctx.seed,
        threads=1,
        started=time.time(),
        checkpoints=str(out / "checkpoints"),
        replay=str(ctx.folder("corpus.replay")) if replay else None,
    )
    train_loop(asdict(spec))
    return _metrics(out)


def _metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _trained(ctx: StageContext) -> npt.NDArray[np.int64]:
    """Tokens with a loss in each sequence, the corpus's first; counted from the columns."""
    counts = []
    for name in ("corpus.tokens", "corpus.replay"):
        paths = sorted(ctx.folder(name).glob("part-*.parquet"))
        table = pa.concat_tables(
            [pq.ParquetFile(p).read(["loss_mask", "position_ids"]) for p in paths]
        )
        for mask, position in zip(*(table[n].to_pylist() for n in table.schema.names), strict=True):
            counts.append(sum(m and p > 0 for m, p in zip(mask, position, strict=True)))
    return np.array(counts)


@pytest.mark.usefixtures("ray_session", "process_group")
def test_every_step_trains_on_corpus_and_replay(ctx: StageContext, tmp_path: Path) -> None:
    folders = ctx.folder("corpus.tokens"), ctx.folder("corpus.replay")
    dataset = SequenceDataset(*folders)
    assert (dataset.sequences, dataset.replay, len(dataset)) == (CORPUS, tuple(REPLAY), 20)
    order = dataset.order(2.5, 4, ctx.seed)
    assert order.samples == 11 + 3 + 11 + 4 + 6 + 2

    here = _train_here(ctx, tmp_path / "here", replay=True)
    counts = _trained(ctx)
    steps = [order.step(step) for step in range(1, order.steps + 1)]
    assert [line["tokens"] for line in here] == [
        int(counts[step[step != PADDING]].sum()) for step in steps
    ]
    for step in steps:
        ids = dataset.read(step).input_ids[:, 0].tolist()
        assert [i for i, s in zip(ids, step, strict=True) if s != PADDING] == [
            s for s in step.tolist() if s != PADDING
        ]
    assert here[-1]["epoch"] == pytest.approx((11 + 11 + 6) / 11, abs=1e-6)

    # Two workers under Ray Train see the same batches; the stage says what it took.
    out = tmp_path / "two"
    out.mkdir()
    result = _stage(SECTION.model_copy(update={"num_workers": 2})).run(ctx, out)
    two = _metrics(out)
    for name in ("tokens", "epoch", "loss", "grad_norm"):
        expected = [line[name] for line in here]
        assert [line[name] for line in two] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert result.metrics["replay_sequences"] == sum(REPLAY)
    assert (result.rows_in, result.rows_out) == (20, 20)

    alone = _train_here(ctx, tmp_path / "alone", replay=False)
    assert len(alone) == 7
    assert [line["loss"] for line in alone] != [line["loss"] for line in here][:7]


def test_the_fingerprint_holds_replay(ctx: StageContext) -> None:
    assert _stage().inputs == ("train.base", "corpus.tokens", "corpus.replay")
    assert _stage().config_digest(ctx) != _stage(replay=None).config_digest(ctx)
    # Without replay nothing is as much as named: runs of before stay fresh.
    assert _stage(replay=None).inputs == ("train.base", "corpus.tokens")
    assert "replay" not in _stage(replay=None).config()


def test_more_epochs_than_replay_is_an_error_at_once(ctx: StageContext, tmp_path: Path) -> None:
    longer = SECTION.model_copy(update={"epochs": 3.5})
    with pytest.raises(InputError, match=r"general text for 3 epochs, the run has 3\.5"):
        _stage(longer).run(ctx, tmp_path)
