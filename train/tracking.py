"""Metrics to TensorBoard, Weights & Biases and MLflow, as the recipe asks.

All of them get the same numbers at the same steps; a run that goes on after a stop writes into the
same places. None of them can end a run: what fails is a warning, once.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import StageError
from core.recipe.watch import Tracking

log = logging.getLogger(__name__)

Values = Mapping[str, float]


class Tracker(ABC):
    """One place that metrics go to."""

    @abstractmethod
    def log(self, step: int, values: Values) -> None:
        """Takes a step's numbers."""

    @abstractmethod
    def close(self) -> None:
        """Writes what is still in memory."""


class TensorBoard(Tracker):
    """Event files that ``tensorboard --logdir`` shows.

    Args:
        folder: of the events.
        first_step: of this start; later ones of an earlier start are hidden.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        self.new = not folder.exists()
        """No start before this one wrote here."""
        self._writer = SummaryWriter(logdir=str(folder), purge_step=first_step)

    def log(self, step: int, values: Values) -> None:
        """Takes a step's numbers."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is still in memory."""
        self._writer.close()


class Trackers:
    """All trackers of a run.

    Args:
        section: which ones.
        folder: for local files.
        name: of the run.
        key: of the run in a service: the same after a stop, another for another run.
        first_step: of this start.

    Raises:
        StageError: a package that the recipe asks for is not installed.
    """

    def __init__(
        self, section: Tracking, folder: Path, name: str, key: str = "run", first_step: int = 1
    ) -> None:
        self._trackers: dict[str, Tracker] = {}
        if section.tensorboard:
            self._open("tensorboardX", TensorBoard, folder / "tensorboard", first_step)
        if section.wandb_project:
            from train.tracking_services import WandB

            self._open("wandb", WandB, section.wandb_project, name, key, folder)
        if section.mlflow_uri:
            from train.tracking_services import Mlflow

            self._open("mlflow", Mlflow, section.mlflow_uri, name, key)

    def _open(self, package: str, kind: Any, *arguments: Any) -> None:
        try:
            self._trackers[package] = kind(*arguments)
        except ModuleNotFoundError as error:
            raise StageError(
                f"metrics cannot be sent: the package '{package}' is not installed",
                where="key tracking",
                remedy=f"pip install {package}, or take it out of the recipe",
            ) from error
        except Exception as error:  # each library raises what it likes
            self._drop(package, error)

    def restore(self, lines: Iterable[tuple[int, Mapping[str, float | None]]]) -> None:
        """Gives steps of earlier starts to TensorBoard, where their events are gone.

        The output of a start that was cut off is cleared; what was learned comes back with the
        checkpoint, its events do not. Services keep what they were sent.

        Args:
            lines: steps with their numbers, in order.
        """
        board = self._trackers.get("tensorboardX")
        if isinstance(board, TensorBoard) and board.new:
            for step, values in lines:
                board.log(step, _present(values))

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Sends a step's numbers everywhere; those that are None are left out."""
        present = _present(values)
        for package, tracker in list(self._trackers.items()):
            try:
                tracker.log(step, present)
            except Exception as error:  # a service that is away must not end a run of days
                self._drop(package, error)

    def close(self) -> None:
        """Closes all."""
        for package, tracker in list(self._trackers.items()):
            try:
                tracker.close()
            except Exception as error:
                self._drop(package, error)
        self._trackers.clear()

    def _drop(self, package: str, error: Exception) -> None:
        self._trackers.pop(package, None)
        log.warning("%s gets no more metrics: %s: %s", package, type(error).__name__, error)


def _present(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}
