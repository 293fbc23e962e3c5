"""The training loop that every Ray Train worker runs.

Deterministic: the seed, the section, the weights, the tokens and the number of workers fix every
byte that is written, ``logs/`` apart. A run that was killed goes on from its latest checkpoint and
ends with the bytes that it would have had.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from core.errors import StageError
from core.model_folder import copy_tokenizer
from core.recipe.train import Trainer
from train.checkpoint.control import RunControl
from train.checkpoint.saver import Checkpoints
from train.data import MicroBatch, SequenceDataset, SequenceOrder, rank_batches
from train.engine import StepResult, TrainEngine
from train.prefetch import Prefetch
from train.schedule import learning_rate
from train.spec import LoopSpec
from train.steplog import StepLog


def train_loop(config: dict[str, Any]) -> None:
    """Trains on this worker; rank 0 writes metrics, logs and the model.

    Args:
        config: a :class:`LoopSpec` as a dictionary.

    Raises:
        StageError: the loss is no longer a number, tokens do not fit the model, or the checkpoints
            there are of another run.
        InputError: weights or tokens cannot be read.
    """
    spec = LoopSpec(**config)
    with RunControl(Path(spec.checkpoints)).failures_noted():
        _train(spec)


def _train(spec: LoopSpec) -> None:
    began = [spec.started, time.time()]
    section = Trainer.model_validate(spec.section)
    torch.set_num_threads(spec.threads)
    dataset = SequenceDataset(Path(spec.tokens), Path(spec.replay) if spec.replay else None)
    order = dataset.order(section.epochs, section.global_batch_sequences, spec.seed)
    began.append(time.time())
    engine = _open_engine(Path(spec.model), section)
    began.append(time.time())
    checkpoints = Checkpoints(spec, section, engine, order)
    done = checkpoints.resume()
    began.append(time.time())

    out = Path(spec.out)
    batches = rank_batches(
        dataset,
        order,
        rank=engine.data_rank,
        world_size=engine.data_size,
        micro_batch=section.micro_batch_size,
        start_step=done + 1,
    )
    with StepLog(out, distributed.get_rank(), began) as log, Prefetch(batches) as ahead:
        for step, micro_batches in enumerate(ahead, start=done + 1):
            _check_vocabulary(micro_batches, engine.vocabulary, spec)
            _seed(spec.seed, step, engine.data_rank)
            rate = learning_rate(
                step,
                order.steps,
                section.learning_rate,
                section.schedule,
                order.steps_per_epoch,
            )
            result = engine.step(micro_batches, rate)
            _check_finite(result, step, order.steps, spec.stage)
            log.metrics(_metrics(step, order, rate, result))
            trained = time.perf_counter()
            stop = checkpoints.after(step)
            parts = {"data": ahead.wait_seconds, "checkpoint": time.perf_counter() - trained}
            log.speed(step, order.global_batch * dataset.sequence_length, parts)
            if stop:
                checkpoints.close(complete=False)
                return
    checkpoints.settle()
    engine.save(out / "model")
    if distributed.get_rank() == 0:
        copy_tokenizer(Path(spec.model), out / "model")
    checkpoints.close(complete=True)


def _open_engine(model: Path, section: Trainer) -> TrainEngine:
    if section.parallel.engine == "pipeline":
        from train.pipeline.engine import PipelineEngine

        return PipelineEngine(model, section)
    from train.zero import ZeroEngine

    return ZeroEngine(model, section)


def _seed(seed: int, step: int, data_rank: int) -> None:
    """Seeds dropout by step and share of the data, so that a resumed run draws the same numbers."""
    torch.manual_seed(((seed * 1_000_003 + step) * 65_537 + data_rank) % 2**63)


def _metrics(step: int, order: SequenceOrder, rate: float, result: StepResult) -> dict[str, Any]:
    return {
        "step": step,
        "total_steps": order.steps,
        "epoch": round(order.epoch(step), 6),
        "learning_rate": rate,
        **asdict(result),
    }


def _check_vocabulary(batches: list[MicroBatch], vocabulary: int, spec: LoopSpec) -> None:
    highest = max(int(batch.input_ids.max()) for batch in batches)
    if highest >= vocabulary:
        raise StageError(
            f"token {highest} is outside the model's vocabulary of {vocabulary}",
            where=f"{spec.stage}, sequences in {spec.tokens}",
            remedy="tokenize with the tokenizer of the model that is trained",
        )


def _check_finite(result: StepResult, step: int, total_steps: int, stage: str) -> None:
    for name, value in (("loss", result.loss), ("gradient norm", result.grad_norm)):
        if not math.isfinite(value):
            raise StageError(
                f"the {name} became {value} at step {step} of {total_steps}",
                where=stage,
                remedy="lower learning_rate or max_grad_norm, or lengthen schedule.warmup_steps",
            )
