"""Runs the loop on Ray Train workers, and makes one clear error of what they raise."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import AstromillError, Paused, StageError, first_line
from core.recipe.train import Trainer
from train.checkpoint.control import RunControl
from train.spec import LoopSpec

if TYPE_CHECKING:
    from ray.train.v2.api.config import ScalingConfig

RAY_FOLDER = "logs/ray_train"
"""Where Ray Train keeps its own state, below the output; it means nothing afterwards."""

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


def launch(
    spec: LoopSpec, section: Trainer, loop: Callable[[dict[str, Any]], None] | None = None
) -> None:
    """Runs a loop on all workers, to its end.

    Args:
        spec: what the loop is told.
        section: of the run.
        loop: by default :func:`train.loop.train_loop`.

    Raises:
        Paused: the run was asked to stop, and saved its state.
        AstromillError: the loop raised it, or workers were lost too often.
    """
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from train.loop import train_loop
    from train.rendezvous import Rendezvous

    run_config, scaling_config = _run_config(spec, section), _scaling_config(section)
    control = RunControl(Path(spec.checkpoints))
    control.clear()
    with _environment(_RAY_TRAIN_ENV), _interrupt_handler_kept(), control.stopped_by():
        trainer = TorchTrainer(
            loop or train_loop,
            train_loop_config=asdict(spec),
            scaling_config=scaling_config,
            run_config=run_config,
            torch_config=Rendezvous(),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise stage_error(error, spec.stage, Path(spec.out)) from error
        except SystemExit:
            # What Ray Train makes of Ctrl-C, once its workers are gone.
            raise KeyboardInterrupt from None
    stopped = control.stopped()
    if stopped is not None:
        raise Paused(
            "stopped at step {:,} of {:,}, with its state saved".format(*stopped),
            where=spec.stage,
            remedy="run the same command again to go on",
        )


def _run_config(spec: LoopSpec, section: Trainer) -> Any:
    """Returns where Ray Train keeps its state, and how often it starts lost workers again.

    Any: the signature of its trainer still names the class of its old API.
    """
    from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig

    from train.restarts import EndAtOnce

    storage = Path(spec.out) / RAY_FOLDER
    storage.mkdir(parents=True, exist_ok=True)
    return RunConfig(
        name=spec.stage,
        storage_path=str(storage),
        logging_config=LoggingConfig(log_level="CRITICAL"),
        # Lost workers start again; the loop finds the latest checkpoint by itself.
        failure_config=FailureConfig(max_failures=section.checkpoint.max_restarts),
        callbacks=[EndAtOnce(spec.out)],
    )


def _scaling_config(section: Trainer) -> ScalingConfig:
    """Returns the workers, and what each one takes from the cluster."""
    from ray.train.v2.api.config import ScalingConfig

    return ScalingConfig(
        num_workers=section.num_workers,
        use_gpu=section.use_gpu,
        resources_per_worker={"CPU": 1, "GPU": 1} if section.use_gpu else {"CPU": 1},
    )


def stage_error(error: Exception, stage: str, out: Path) -> AstromillError:
    """Returns what Ray Train raised as three lines: the worker's own error where it has one.

    Args:
        error: of ``fit``.
        stage: name of the stage.
        out: what the workers write is below it.
    """
    from train.restarts import own_error

    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    cause = getattr(error, "controller_failure", error)
    if isinstance(cause, AstromillError):
        return cause
    # Workers that waited for a failed one fail too, less clearly: a plain error comes first.
    if own := own_error(failures, out):
        return own
    what = f"Ray Train failed: {type(cause).__name__}: {first_line(cause)}"
    for rank, failure in sorted(failures.items())[:1]:
        cause = getattr(failure, "_base_exc", failure)
        what = f"training worker {rank} failed: {type(cause).__name__}: {first_line(cause)}"
    return StageError(
        what, where=stage, remedy="run with --debug for the trace; look for lack of memory"
    )


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
