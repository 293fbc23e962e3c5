"""A training run as a stage: continued pretraining, fine-tuning, the perplexity scorer.

The stage launches the loop (:mod:`train.loop`) on Ray Train workers and keeps what comes back:
``model/``, ``metrics.jsonl`` and ``logs/``. Sources: AstroMLab 3, sections II.2 and III.2;
AstroMLab 4, section 2.3.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import AstromillError, StageError
from core.model_folder import model_files, require_model, tensor_shapes
from core.recipe.train import Trainer
from core.session import cluster_resources
from core.stage import STAGE_PREFIXES, JobResult, JobStage, StageContext
from train.spec import METRICS_NAME, LoopSpec

if TYPE_CHECKING:
    from train.data import SequenceOrder

_RAY_FOLDER = "logs/ray_train"
_TAIL_BYTES = 4096
_THREADS = 1
"""Of one worker: it asks Ray for one CPU."""

_RAY_TRAIN_ENV = {
    # How often the controller looks after its workers: the end of a run is noticed that late.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Workers stay where the run was started, so that their relative paths mean the same.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # A node that goes away ends the run either way: one process less to start.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
}
"""Set while Ray Train runs, where the user has not set them."""


class TrainStage(JobStage):
    """Trains a model on packed token sequences."""

    description = "train a model on packed token sequences"
    remote = False
    row_unit = "sequence"
    reconcile = (
        "sequences are read, not changed; with less than one epoch only those that were "
        "trained on are counted"
    )

    def __init__(
        self,
        name: str,
        section: Trainer,
        tokens_stage: str,
        init: str,
        replay_stage: str | None = None,
    ) -> None:
        """Describes one run.

        Args:
            name: of the stage, such as ``train.cpt``.
            section: the run's part of the recipe.
            tokens_stage: stage whose sequences it trains on.
            init: train stage or model folder whose weights it starts from.
            replay_stage: stage whose sequences, each for one epoch, are mixed in.
        """
        self.name = name
        self._section = section
        self._tokens_stage = tokens_stage
        self._replay_stage = replay_stage
        self._init = init
        self._init_is_stage = init.startswith(STAGE_PREFIXES)
        self.inputs = (init, tokens_stage) if self._init_is_stage else (tokens_stage,)
        if replay_stage is not None:
            self.inputs += (replay_stage,)

    def config(self) -> dict[str, Any]:
        """Returns the section, and what it starts from and trains on."""
        # A folder is known by its content (source_files), wherever it lies.
        init = self._init if self._init_is_stage else "folder"
        section = {**self._section.model_dump(), "init": init}
        replay = {"replay": self._replay_stage} if self._replay_stage else {}
        return {**section, "tokens": self._tokens_stage, **replay}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of the starting model, where it is a folder of the user's."""
        if self._init_is_stage:
            return []
        folder = Path(ctx.model_path(self._init))
        require_model(folder, f"{self.name}.init")
        return model_files(folder)

    def progress(self, out: Path) -> tuple[int, int, str] | None:
        """Returns steps done, steps in all and the last loss."""
        line = _last_line(out / METRICS_NAME)
        if line is None:
            return None
        return line["step"], line["total_steps"], f"loss {line['loss']:.3f}"

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Trains; fills ``out`` with model, metrics and logs.

        Raises:
            InputError: the starting model or the sequences are missing or unreadable.
            StageError: the cluster is too small, a worker failed, or the loss diverged.
        """
        # Imported here: the command line lists stages without loading PyTorch.
        from train.data import SequenceDataset

        started = time.time()
        model = Path(ctx.model_path(self._init))
        require_model(model, f"{self.name}.init")
        tokens = ctx.folder(self._tokens_stage)
        replay = ctx.folder(self._replay_stage) if self._replay_stage else None
        order = SequenceDataset(tokens, replay).order(
            self._section.epochs, self._section.global_batch_sequences, ctx.seed
        )
        check_cluster(self._section, self.name)
        spec = LoopSpec(
            stage=self.name,
            model=str(model),
            tokens=str(tokens),
            out=str(out),
            section=self._section.model_dump(),
            seed=ctx.seed,
            threads=_THREADS,
            started=started,
            replay=None if replay is None else str(replay),
        )
        _launch(spec, self._section)
        # Ray Train keeps its own state there; it means nothing once the run has ended.
        shutil.rmtree(out / _RAY_FOLDER, ignore_errors=True)
        metrics = _summary(out, order)
        if replay is not None:
            metrics["replay_sequences"] = order.replay_samples
        return JobResult(rows_in=order.distinct, rows_out=order.distinct, metrics=metrics)


def check_cluster(section: Trainer, stage: str) -> None:
    """Checks that the open Ray session can hold the workers; Ray itself would wait for ever.

    Raises:
        StageError: it cannot.
    """
    have = cluster_resources()
    need = {"CPU": section.num_workers, "GPU": section.num_workers if section.use_gpu else 0}
    for kind, count in need.items():
        if have.get(kind, 0) < count:
            raise StageError(
                f"{section.num_workers} training workers need {count} {kind}s, the Ray cluster "
                f"has {have.get(kind, 0):g}",
                where=f"{stage}.num_workers",
                remedy="lower num_workers, set use_gpu: false, or join a larger cluster "
                "(cluster.address)",
            )


def _launch(spec: LoopSpec, section: Trainer) -> None:
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import LoggingConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    from train.loop import train_loop

    per_worker = {"CPU": 1, "GPU": 1} if section.use_gpu else {"CPU": 1}
    storage = Path(spec.out) / _RAY_FOLDER
    storage.mkdir(parents=True, exist_ok=True)
    # Any: Ray Train's signature still names the class of its old API.
    run_config: Any = RunConfig(
        name=spec.stage,
        storage_path=str(storage),
        logging_config=LoggingConfig(log_level="CRITICAL"),
    )
    with _environment(_RAY_TRAIN_ENV), _interrupt_handler_kept():
        trainer = TorchTrainer(
            train_loop,
            train_loop_config=asdict(spec),
            scaling_config=ScalingConfig(
                num_workers=section.num_workers,
                use_gpu=section.use_gpu,
                resources_per_worker=per_worker,
            ),
            run_config=run_config,
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise stage_error(error, spec.stage) from error
        except SystemExit:
            # What Ray Train makes of Ctrl-C, once its workers are gone.
            raise KeyboardInterrupt from None


def stage_error(error: Exception, stage: str) -> AstromillError:
    """Returns what Ray Train raised as three lines: the worker's own error where it has one."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    # Workers that waited for a failed one fail too, less clearly: a plain error comes first.
    causes = {rank: getattr(e, "_base_exc", e) for rank, e in sorted(failures.items())}
    for cause in causes.values():
        if isinstance(cause, AstromillError):
            return cause
    if causes:
        rank, cause = next(iter(causes.items()))
        what = f"training worker {rank} failed: {type(cause).__name__}: {_first_line(cause)}"
    else:
        cause = getattr(error, "controller_failure", error)
        what = f"Ray Train failed: {type(cause).__name__}: {_first_line(cause)}"
    return StageError(
        what, where=stage, remedy="run with --debug for the trace; look for lack of memory"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables that the user has not set, for the length of the block."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _interrupt_handler_kept() -> Iterator[None]:
    """Puts back the SIGINT handler that Ray Train replaces and leaves behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _last_line(path: Path) -> dict[str, Any] | None:
    """Returns the last whole line of a JSON-lines file, or None where there is none yet."""
    if not path.is_file():
        return None
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = f.read().split(b"\n")[:-1]
    return dict(json.loads(lines[-1])) if lines else None


def _summary(out: Path, order: SequenceOrder) -> dict[str, Any]:
    lines = [json.loads(line) for line in (out / METRICS_NAME).read_text("utf-8").splitlines()]
    tail = lines[-max(1, len(lines) // 10) :]
    return {
        "steps": len(lines),
        "epochs": round(order.epoch(order.steps), 6),
        "trained_tokens": sum(line["tokens"] for line in lines),
        "first_loss": round(lines[0]["loss"], 6),
        # One step is noisy: the mean of the last tenth of them.
        "last_loss": round(sum(line["loss"] for line in tail) / len(tail), 6),
        "padding_sequences": order.padding,
        "parameters": _parameters(out / "model"),
    }


def _parameters(model: Path) -> int:
    return sum(math.prod(shape) for shape in tensor_shapes(model, str(model)).values())
