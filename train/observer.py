"""What is looked out for and told while a run trains: the loop talks to this alone.

::

    metrics.jsonl        what was learned, a line per step           \
    evaluation.jsonl     loss on held-out text                        | the same for two equal runs
    spikes.json          steps whose loss jumped, with documents     /
    logs/speed.jsonl     how fast; who was slow
    logs/tensorboard/    all of it, to be looked at (and where else ``tracking`` says)
    logs/bad_batch.json  the documents of a batch whose loss is no number
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from core.atomic import write_json
from core.errors import AstromillError, StageError
from core.hashing import sha256_value
from core.recipe.train import Trainer
from train.budget import flop_per_token, shape_of
from train.data import SequenceDataset
from train.engine import StepResult, TrainEngine
from train.evaluation import Evaluator, evaluation_line
from train.hang import Watchdog, stragglers
from train.order import SequenceOrder
from train.spec import EVALUATION_NAME, METRICS_NAME, LoopSpec
from train.spikes import Spike, SpikeDetector, add_spike
from train.steplog import StepLog, read_lines
from train.throughput import Rates
from train.tracking import Trackers
from train.workers import WaitingForOthers, Workers

log = logging.getLogger(__name__)

BAD_BATCH_NAME = "logs/bad_batch.json"
_NAMED = 5
"""Documents in a message; the file has all."""

_HOST_BYTES = 64


class Observer:
    """Watches one start of a run. For use in a ``with``; all workers make the same calls."""

    def __init__(
        self,
        spec: LoopSpec,
        section: Trainer,
        engine: TrainEngine,
        dataset: SequenceDataset,
        order: SequenceOrder,
        workers: Workers,
        watchdog: Watchdog,
        startup_seconds: dict[str, float],
    ) -> None:
        """Reads what the run has logged so far.

        Args:
            spec: where the output is.
            section: what to look out for, what to measure.
            engine: that is trained.
            dataset: for the documents of a step.
            order: for the sequences of a step.
            workers: all of them.
            watchdog: hears that the run goes on.
            startup_seconds: how long this start took, by phase; empty where it is none.
        """
        self._spec, self._section, self._engine = spec, section, engine
        self._dataset, self._order, self._workers = dataset, order, workers
        self._watchdog, self._out = watchdog, Path(spec.out)
        self._log = StepLog(self._out, workers.rank)
        self._trackers: Trackers | None = None
        self._startup_seconds = startup_seconds
        # Worker 0 judges and tells, and its word counts; see train.checkpoint.saver.
        self._written = read_lines(self._out / METRICS_NAME) if workers.rank == 0 else []
        self._evaluator: Evaluator | None = None
        if section.evaluate is not None and spec.evaluation:
            self._evaluator = Evaluator(
                spec.evaluation, engine, section.micro_batch_size, watchdog.alive
            )
        shape, tied = shape_of(Path(spec.model))
        self._rates = Rates(
            order.global_batch * dataset.sequence_length,
            flop_per_token(shape, dataset.sequence_length, tied),
            workers.count,
            section.tracking.peak_tflop_per_s,
        )
        watch = section.watch
        self._spikes = SpikeDetector(
            watch.spike_factor,
            watch.spike_window_steps,
            (line["loss"] for line in self._written),
        )
        self._ended = time.perf_counter()
        self._own_seconds: list[float] = []
        self._evaluation_seconds = 0.0

    def __enter__(self) -> Observer:
        if self._workers.rank == 0:
            lines, self._written = self._written, []
            first = int(lines[-1]["step"]) + 1 if lines else 1
            logs, name = self._out / "logs", self._spec.name or self._spec.stage
            self._trackers = Trackers(self._section.tracking, logs, name, self._key(), first)
            lines += read_lines(self._out / EVALUATION_NAME)
            self._trackers.restore(_values(line) for line in lines)
        if self._startup_seconds:
            self._log.started(self._startup_seconds)
        self._ended = time.perf_counter()
        return self

    def _key(self) -> str:
        """Returns what names this run among others of its name, in services that keep many."""
        return sha256_value([self._spec.identity, self._spec.checkpoints])[:10]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._trackers is not None:
            self._trackers.close()
        self._log.close()

    @contextmanager
    def training(self, step: int, data_wait_seconds: float) -> Iterator[None]:
        """Is put around a step; every so often it compares the workers' own times.

        Args:
            step: its number.
            data_wait_seconds: this worker waited for the step's sequences; part of its own time,
                since the others wait for it in turn.
        """
        self._own_seconds = []
        if self._workers.count == 1 or step % self._section.watch.straggler_every_steps:
            yield
            return
        began = time.perf_counter()
        with WaitingForOthers() as waiting:
            yield
        own = time.perf_counter() - began - waiting.seconds() + data_wait_seconds
        self._own_seconds = self._workers.gather_number(max(own, 0.0))

    def learned(self, step: int, rate: float, result: StepResult) -> bool:
        """Takes what a step did; returns whether it is to be left out, on worker 0.

        Raises:
            StageError: the loss or the norm of the gradient is no number.
        """
        self._watchdog.alive()
        self._check_finite(step, result)
        line = {
            "step": step,
            "total_steps": self._order.steps,
            "epoch": round(self._order.epoch(step), 6),
            "learning_rate": rate,
            **asdict(result),
        }
        self._log.metrics(line)
        self._track(line)
        if self._workers.rank or (above := self._spikes.deviations(result.loss)) is None:
            return False
        rewind = self._section.watch.on_spike == "rewind"
        spike = Spike(step, result.loss, round(above, 3), tuple(self._documents(step)))
        self._report(spike, "left out" if rewind else "reported")
        return rewind

    def evaluate_if_due(self, step: int, *, last: bool = False) -> None:
        """Measures the loss on held-out text.

        Args:
            step: optimizer steps done; 0: none yet.
            last: no step follows: measured where it has not just been.
        """
        self._evaluation_seconds = 0.0
        section = self._section.evaluate
        if self._evaluator is None or section is None:
            return
        due = step % section.every_steps == 0
        # In the loop those that are due have been measured; what is left is the last one.
        if due == last:
            return
        began = time.perf_counter()
        line = evaluation_line(step, self._order.epoch(step), self._evaluator.losses())
        self._log.evaluation(line)
        self._track(line)
        self._evaluation_seconds = time.perf_counter() - began

    def ended(self, step: int, tokens: int, data_wait_seconds: float, saving: float) -> None:
        """Writes how fast a step was, from the end of the one before to now.

        Args:
            step: its number.
            tokens: of it that were trained.
            data_wait_seconds: waited for sequences.
            saving: seconds spent on checkpoints.
        """
        now = time.perf_counter()
        seconds, self._ended = now - self._ended, now
        speed = self._rates.speed(step, seconds, data_wait_seconds, tokens)
        line = {
            **asdict(speed),
            "checkpoint_seconds": round(saving, 4),
            "evaluation_seconds": round(self._evaluation_seconds, 4),
        }
        if self._own_seconds:
            line |= self._compared(step)
        self._log.speed(line)
        self._track(asdict(speed))

    def _report(self, spike: Spike, action: str) -> None:
        """Writes a spike down, and what is done about it."""
        add_spike(self._out, spike, action)
        log.warning(
            "%s: the loss of step %d jumped to %.4f, %.1f deviations above the median: %s; its "
            "documents are in spikes.json",
            self._spec.stage,
            spike.step,
            spike.loss,
            spike.deviations,
            action,
        )

    def _compared(self, step: int) -> dict[str, Any]:
        """Returns what the comparison of the workers' own times found."""
        seconds = self._own_seconds
        slow = stragglers(seconds, self._section.watch.straggler_factor)
        line: dict[str, Any] = {
            "own_seconds_median": round(sorted(seconds)[(len(seconds) - 1) // 2], 4),
            "own_seconds_most": round(max(seconds), 4),
        }
        if slow:
            hosts = self._workers.gather_texts(socket.gethostname(), _HOST_BYTES)
            line["stragglers"] = [
                {"worker": rank, "host": hosts[rank], "seconds": round(seconds[rank], 4)}
                for rank in slow
            ]
            named = ", ".join(f"{r} on {hosts[r]} ({seconds[r]:.2f} s)" for r in slow[:_NAMED])
            if self._workers.rank == 0:
                log.warning(
                    "%s: step %d, slow workers: %s; the median is %.2f s",
                    self._spec.stage,
                    step,
                    named,
                    line["own_seconds_median"],
                )
        return line

    def _track(self, line: dict[str, Any]) -> None:
        if self._trackers is not None:
            step, values = _values(line)
            self._trackers.log(step, values)

    def _documents(self, step: int) -> list[str]:
        return self._dataset.documents(self._order.step(step))

    def _check_finite(self, step: int, result: StepResult) -> None:
        for name, value in (("loss", result.loss), ("gradient norm", result.grad_norm)):
            if not math.isfinite(value):
                raise self._not_finite(step, name, value)

    def _not_finite(self, step: int, name: str, value: float) -> StageError:
        try:
            documents = self._documents(step)
        except AstromillError as error:  # it must not hide what happened
            documents = [f"(not readable: {error.what})"]
        if self._workers.rank == 0:
            sequences = self._order.step(step).tolist()
            found = {"step": step, name: str(value), "sequences": sequences, "documents": documents}
            (self._out / BAD_BATCH_NAME).parent.mkdir(parents=True, exist_ok=True)
            write_json(self._out / BAD_BATCH_NAME, found)
        first = ", ".join(documents[:_NAMED])
        more = f" and {len(documents) - _NAMED:,} more" if len(documents) > _NAMED else ""
        return StageError(
            f"the {name} became {value} at step {step} of {self._order.steps}, on documents "
            f"{first}{more}",
            where=f"{self._spec.stage}; all documents: {self._out / BAD_BATCH_NAME}",
            remedy="lower learning_rate or max_grad_norm, or lengthen schedule.warmup_steps; where "
            "it happens at any rate, look at these documents",
        )


def _values(line: dict[str, Any]) -> tuple[int, dict[str, float | None]]:
    """Returns the step of a line and its numbers, those of held-out sets by set."""
    values: dict[str, float | None] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            values |= {f"{name}/{part}": number for part, number in value.items()}
        elif name not in ("step", "total_steps"):
            values[name] = value
    return int(line["step"]), values
