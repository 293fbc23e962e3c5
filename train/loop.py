"""The training loop that every Ray Train worker runs.

Deterministic: the seed, the section, the weights, the tokens and the number of workers fix every
byte that is written, ``logs/`` apart. A run that was killed starts again from its beginning.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import distributed

from core.errors import StageError
from core.model_folder import copy_tokenizer
from core.recipe.train import Trainer
from train.data import MicroBatch, SequenceDataset, SequenceOrder, rank_batches
from train.engine import StepResult, TrainEngine
from train.schedule import learning_rate
from train.spec import METRICS_NAME, SPEED_NAME, LoopSpec


def train_loop(config: dict[str, Any]) -> None:
    """Trains on this worker; rank 0 writes metrics, logs and the model.

    Args:
        config: a :class:`LoopSpec` as a dictionary.

    Raises:
        StageError: the loss is no longer a number, or tokens do not fit the model.
    """
    spec = LoopSpec(**config)
    began = [spec.started, time.time()]
    section = Trainer.model_validate(spec.section)
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    torch.set_num_threads(spec.threads)
    torch.manual_seed(spec.seed)

    dataset = SequenceDataset(Path(spec.tokens), Path(spec.replay) if spec.replay else None)
    order = dataset.order(section.epochs, section.global_batch_sequences, spec.seed)
    model = _load_model(Path(spec.model))
    began.append(time.time())
    vocabulary = int(model.config.vocab_size)
    engine = _open_engine(model, section)
    began.append(time.time())

    out = Path(spec.out)
    batches = rank_batches(
        dataset, order, rank=rank, world_size=world_size, micro_batch=section.micro_batch_size
    )
    with _StepLog(out, rank, began) as log:
        for step, micro_batches in enumerate(batches, start=1):
            _check_vocabulary(micro_batches, vocabulary, spec)
            rate = learning_rate(step, order.steps, section.learning_rate, section.schedule)
            result = engine.step(micro_batches, rate)
            _check_finite(result, step, order.steps, spec.stage)
            log.write(step, order, rate, result, dataset.sequence_length)
    engine.save(out / "model")
    if rank == 0:
        copy_tokenizer(Path(spec.model), out / "model")


def _load_model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )


def _open_engine(model: Any, section: Trainer) -> TrainEngine:
    from train.zero import ZeroEngine

    return ZeroEngine(model, section)


class _StepLog:
    """Appends one line per step to the metrics and to the speed log, on rank 0."""

    def __init__(self, out: Path, rank: int, began: list[float]) -> None:
        self._out, self._rank, self._began = out, rank, began
        self._metrics: TextIO | None = None
        self._speed: TextIO | None = None

    def __enter__(self) -> _StepLog:
        if self._rank == 0:
            (self._out / SPEED_NAME).parent.mkdir(parents=True, exist_ok=True)
            # Line buffered: progress is read while the run goes on.
            self._metrics = (self._out / METRICS_NAME).open("w", encoding="utf-8", buffering=1)
            self._speed = (self._out / SPEED_NAME).open("w", encoding="utf-8", buffering=1)
            seconds = [round(b - a, 3) for a, b in pairwise(self._began)]
            startup = dict(zip(("workers", "model", "engine"), seconds, strict=True))
            self._speed.write(json.dumps({"startup_seconds": startup}) + "\n")
        self._last = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._metrics, self._speed):
            if file is not None:
                file.close()

    def write(
        self, step: int, order: SequenceOrder, rate: float, result: StepResult, length: int
    ) -> None:
        if self._metrics is None or self._speed is None:
            return
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        line = {
            "step": step,
            "total_steps": order.steps,
            "epoch": round(order.epoch(step), 6),
            "learning_rate": rate,
            **asdict(result),
        }
        self._metrics.write(json.dumps(line) + "\n")
        speed = {
            "step": step,
            "seconds": round(seconds, 4),
            "tokens_per_s": round(order.global_batch * length / seconds, 1),
        }
        self._speed.write(json.dumps(speed) + "\n")


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
