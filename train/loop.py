"""The training loop that every Ray Train worker runs.

Deterministic: the seed, the section, the weights, the tokens and the number of workers fix every
byte that is written, ``logs/`` apart. A run that was killed goes on from its latest checkpoint and
ends with the bytes that it would have had.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from core.errors import StageError
from core.model_folder import copy_tokenizer
from core.recipe.train import Trainer
from train.checkpoint.control import RunControl
from train.checkpoint.saver import Checkpoints, Next
from train.data import MicroBatch, SequenceDataset, rank_batches
from train.determinism import deterministic_kernels
from train.engine import TrainEngine
from train.engines import open_engine
from train.hang import Watchdog
from train.observer import Observer
from train.order import SequenceOrder
from train.prefetch import Prefetch
from train.schedule import learning_rate
from train.spec import LoopSpec
from train.steplog import STARTUP_PHASES, worker_log
from train.workers import Workers


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
    section = Trainer.model_validate(spec.section)
    with (
        RunControl(Path(spec.checkpoints)).failures_noted(),
        deterministic_kernels(section.deterministic),
    ):
        _train(spec, section)


@dataclass(frozen=True)
class _Run:
    """What a run is made of."""

    spec: LoopSpec
    section: Trainer
    dataset: SequenceDataset
    order: SequenceOrder
    engine: TrainEngine
    checkpoints: Checkpoints


def _train(spec: LoopSpec, section: Trainer) -> None:
    began = [spec.started, time.time()]
    torch.set_num_threads(spec.threads)
    workers, out = Workers(), Path(spec.out)
    with (
        worker_log(out, workers.rank),
        Watchdog(
            section.watch.hang_minutes * 60,
            out / "logs" / f"hang-{workers.rank:05d}.txt",
            f"{spec.stage}, worker {workers.rank}",
        ) as watchdog,
    ):
        dataset = SequenceDataset(Path(spec.tokens), Path(spec.replay) if spec.replay else None)
        order = dataset.order(section.epochs, section.global_batch_sequences, spec.seed)
        began.append(time.time())
        engine = open_engine(Path(spec.model), section)
        watchdog.alive()
        began.append(time.time())
        checkpoints = Checkpoints(spec, section, engine, order, workers)
        done = checkpoints.resume()
        watchdog.alive()
        began.append(time.time())

        run = _Run(spec, section, dataset, order, engine, checkpoints)
        seconds = [round(b - a, 3) for a, b in pairwise(began)]
        startup = dict(zip(STARTUP_PHASES, seconds, strict=True))
        while True:
            with Observer(
                spec, section, engine, dataset, order, workers, watchdog, startup
            ) as observer:
                what_next, step = _steps(run, observer, done)
            if what_next is not Next.REWIND:
                break
            done, startup = checkpoints.leave_out(step), {}
            watchdog.alive()
        if what_next is Next.COMPLETE:
            checkpoints.settle()
            watchdog.alive()
            engine.save(out / "model")
            if workers.rank == 0:
                copy_tokenizer(Path(spec.model), out / "model")
        checkpoints.close(complete=what_next is Next.COMPLETE)
        workers.close()


def _steps(run: _Run, observer: Observer, done: int) -> tuple[Next, int]:
    """Trains from the step after ``done`` on; returns why it ended, and after which step."""
    order, engine, checkpoints = run.order, run.engine, run.checkpoints
    left_out = checkpoints.left_out
    todo = [step for step in range(done + 1, order.steps + 1) if step not in left_out]
    batches = rank_batches(
        run.dataset,
        order,
        rank=engine.data_rank,
        world_size=engine.data_size,
        micro_batch=run.section.micro_batch_size,
        start_step=done + 1,
        left_out=left_out,
    )
    if done == 0:
        observer.evaluate_if_due(0)
    with Prefetch(batches) as ahead:
        for step, micro_batches in zip(todo, ahead, strict=False):
            _check_vocabulary(micro_batches, engine.vocabulary, run.spec)
            _seed(run.spec.seed, step, engine.data_rank)
            rate = _rate(run, step)
            with observer.training(step, ahead.wait_seconds):
                result = engine.step(micro_batches, rate)
            leave_out = observer.learned(step, rate, result)
            observer.evaluate_if_due(step)
            trained = time.perf_counter()
            what_next = checkpoints.after(step, rewind=leave_out)
            saving = time.perf_counter() - trained
            observer.ended(step, result.tokens, ahead.wait_seconds, saving)
            if what_next is not Next.GO_ON:
                return what_next, step
    last = todo[-1] if todo else done
    observer.evaluate_if_due(last, last=True)
    return Next.COMPLETE, last


def _rate(run: _Run, step: int) -> float:
    section, order = run.section, run.order
    return learning_rate(
        step, order.steps, section.learning_rate, section.schedule, order.steps_per_epoch
    )


def _seed(seed: int, step: int, data_rank: int) -> None:
    """Seeds dropout by step and share of the data, so that a resumed run draws the same numbers."""
    torch.manual_seed(((seed * 1_000_003 + step) * 65_537 + data_rank) % 2**63)


def _check_vocabulary(batches: list[MicroBatch], vocabulary: int, spec: LoopSpec) -> None:
    highest = max(int(batch.input_ids.max()) for batch in batches)
    if highest >= vocabulary:
        raise StageError(
            f"token {highest} is outside the model's vocabulary of {vocabulary}",
            where=f"{spec.stage}, sequences in {spec.tokens}",
            remedy="tokenize with the tokenizer of the model that is trained",
        )
