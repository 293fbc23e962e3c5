"""Metrics to services: Weights & Biases and MLflow. Imported where a recipe asks for one.

A service gets numbers alone: no code, no console output, nothing of the machine's folders. Keys
come from the environment variables that the service's own package reads.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from pathlib import Path

from train.tracking import Tracker, Values

_FINISH_SECONDS = 120.0
"""How long the end of a run waits for what a service has not yet taken."""
_WAITING_STEPS = 100_000
"""Steps in memory while a service does not take any; some hundred bytes each."""

_TAG = "astromill.run"
"""By which a run of MLflow is found again."""
_BAD_ID = re.compile(r"[^A-Za-z0-9_.-]+")
_BAD_METRIC = re.compile(r"[^\w.:/ -]+")
"""What MLflow 3 refuses in the name of a metric."""


class WandB(Tracker):
    """Weights & Biases.

    A start that begins again before the last logged step sends steps that the service has: it keeps
    those, which are the same numbers.

    Args:
        project: to log into.
        name: of the run there.
        key: of the run: the same after a stop, another for another run.
        folder: of the logs; files lie below ``wandb``.
    """

    def __init__(self, project: str, name: str, key: str, folder: Path) -> None:
        # Faults of its own go to nobody else.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        wanted = {
            "console": "off",
            "disable_code": True,
            # A remote's address may hold a password.
            "disable_git": True,
            "silent": True,
            "finish_timeout": _FINISH_SECONDS,
            "finish_timeout_raises": True,
            "reinit": "finish_previous",
        }
        known = wandb.Settings.model_fields
        self._run = wandb.init(
            project=project,
            name=name,
            id=f"{_BAD_ID.sub('-', name)}-{key}",
            resume="allow",
            dir=str(folder),
            settings=wandb.Settings(**{k: v for k, v in wanted.items() if k in known}),
        )

    def log(self, step: int, values: Values) -> None:
        """Takes a step's numbers."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Sends what is still in memory.

        Raises:
            TimeoutError: that takes too long; ``wandb sync`` sends it later.
        """
        self._run.finish()


class Mlflow(Tracker):
    """An MLflow tracking server or store.

    Its client waits for the server's answer, and for minutes where there is none: a thread does
    the waiting, so that no step does.

    Args:
        uri: its address, or a folder.
        name: of the experiment and the run there.
        key: of the run: the same after a stop, another for another run.
    """

    def __init__(self, uri: str, name: str, key: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if "://" not in uri:
            # MLflow 3 keeps folders going, and takes them where told to alone.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._name, self._key = name, key
        self._steps: queue.Queue[tuple[int, int, Values] | None] = queue.Queue(_WAITING_STEPS)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Values) -> None:
        """Takes a step's numbers.

        Raises:
            Exception: what the server, or the way there, failed with at an earlier step.
        """
        if self._error is not None:
            raise self._error
        self._steps.put_nowait((step, round(time.time() * 1000), values))

    def close(self) -> None:
        """Sends what is still in memory.

        Raises:
            TimeoutError: that takes too long.
            Exception: what the server, or the way there, failed with.
        """
        self._steps.put_nowait(None)
        self._thread.join(_FINISH_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"the last steps were not taken within {_FINISH_SECONDS:g} s")
        if self._error is not None:
            raise self._error

    def _send_all(self) -> None:
        try:
            run_id = self._open_run()
            while (item := self._steps.get()) is not None:
                self._send(run_id, *item)
            self._client.set_terminated(run_id)
        except Exception as error:  # whatever MLflow raises; `log` tells
            self._error = error

    def _open_run(self) -> str:
        """Returns the identifier of the run with this key; makes one where there is none."""
        found = self._client.get_experiment_by_name(self._name)
        experiment = found.experiment_id if found else self._client.create_experiment(self._name)
        wanted = f"tags.`{_TAG}` = '{self._key}'"
        runs = self._client.search_runs([experiment], wanted, max_results=1)
        if not runs:
            made = self._client.create_run(experiment, tags={_TAG: self._key}, run_name=self._name)
            return str(made.info.run_id)
        run_id = str(runs[0].info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _send(self, run_id: str, step: int, unix_milliseconds: int, values: Values) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(
            run_id,
            [
                Metric(_BAD_METRIC.sub("_", name), value, unix_milliseconds, step)
                for name, value in values.items()
            ],
            synchronous=True,
        )
