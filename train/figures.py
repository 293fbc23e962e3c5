"""Training curves as in the papers: loss, learning rate and update norm over all runs.

AstroMLab 3, Figure 2: loss in black, learning rate in brick red, L2 norm of the parameter update in
green. AstroMLab 4, Figure 2: pretraining and fine-tuning after each other, epochs marked. Losses on
held-out text, where they were measured, are dots of a colour for each set.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import InputError
from train.spec import EVALUATION_NAME
from train.steplog import read_lines

_LOSS, _RATE, _UPDATE = "black", "#aa3322", "#2a7f3f"
_SMOOTHED_OVER = 50
"""Averages per curve: with more steps than that, the mean is drawn over the single steps."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunCurve:
    """A run's numbers, one per step.

    Args:
        name: of the run.
        step: its number; those left out are missing.
        epoch: passes finished after the step.
        loss, learning_rate, update_norm: of the step.
        heldout: steps and losses of each held-out set.
    """

    name: str
    step: Numbers
    epoch: Numbers
    loss: Numbers
    learning_rate: Numbers
    update_norm: Numbers
    heldout: dict[str, tuple[Numbers, Numbers]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimizer steps, those left out counted."""
        return int(self.step[-1])

    def epoch_ends(self) -> list[int]:
        """Returns the steps that end a whole epoch."""
        ends = np.flatnonzero(np.diff(np.floor(self.epoch + 1e-9), prepend=0.0) >= 1)
        return [int(step) for step in self.step[ends]]


def read_run(path: Path, name: str) -> RunCurve:
    """Reads a run's ``metrics.jsonl``, and ``evaluation.jsonl`` beside it.

    Raises:
        InputError: it is not there or holds no step.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        columns = [
            np.array([line[key] for line in lines], dtype=np.float64)
            for key in ("step", "epoch", "loss", "learning_rate", "update_norm")
        ]
        heldout = _heldout(path.with_name(EVALUATION_NAME))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"no training metrics can be read: {type(error).__name__}: {error}",
            where=str(path),
            remedy="train first; the file is in the folder of a train stage",
        ) from error
    if not lines:
        raise InputError("the run has no step yet", where=str(path), remedy="wait for the first")
    step, epoch, loss, rate, update = columns
    return RunCurve(name, step, epoch, loss, rate, update, heldout)


def _heldout(path: Path) -> dict[str, tuple[Numbers, Numbers]]:
    points: dict[str, list[tuple[int, float]]] = {}
    for line in read_lines(path):
        for name, loss in line["evaluation"].items():
            points.setdefault(name, []).append((line["step"], loss))
    return {
        name: (np.array(found, dtype=np.float64)[:, 0], np.array(found, dtype=np.float64)[:, 1])
        for name, found in points.items()
    }


def draw_runs(runs: Sequence[RunCurve], path: Path) -> None:
    """Draws runs after each other into a PNG or SVG: losses above, rates and updates below.

    Args:
        runs: in the order they were trained.
        path: ``.png`` or ``.svg``; written anew.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "astromill", "axes.spines.top": False}):
        figure = Figure(figsize=(9, 6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        updates = lower.twinx()
        offset = 0
        sets = sorted({name for run in runs for name in run.heldout})
        for run in runs:
            steps = offset + run.step
            upper.plot(steps, run.loss, color=_LOSS, linewidth=0.6, alpha=0.35)
            upper.plot(*_smoothed(steps, run.loss), color=_LOSS, linewidth=1.4)
            for name, (at, losses) in run.heldout.items():
                colour = f"C{sets.index(name)}"
                upper.plot(offset + at, losses, f"{colour}o:", markersize=3, linewidth=0.8)
            lower.plot(steps, run.learning_rate, color=_RATE)
            updates.plot(steps, run.update_norm, color=_UPDATE, linewidth=0.8, alpha=0.8)
            for axes in (upper, lower):
                for end in run.epoch_ends():
                    axes.axvline(offset + end, color="0.8", linewidth=0.8, zorder=0)
                axes.axvline(offset + run.steps, color="0.4", linewidth=1, zorder=0)
            middle = offset + run.steps / 2
            upper.annotate(
                run.name, (middle, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom"
            )
            offset += run.steps
        if sets:
            for number, name in enumerate(sets):
                upper.plot([], [], f"C{number}o:", markersize=3, label=name)
            upper.legend(title="held out", frameon=False)
        upper.set_ylabel("loss (nats per token)")
        upper.set_xlim(0, offset + 1)
        lower.set_ylabel("learning rate", color=_RATE)
        lower.set_xlabel("optimizer step; grey lines end epochs")
        lower.set_ylim(bottom=0)
        updates.set_ylabel("L2 norm of the update", color=_UPDATE)
        updates.set_ylim(bottom=0)
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=150, metadata=metadata)


def _smoothed(steps: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Returns means over equal stretches; all values where there are few."""
    width = max(1, len(values) // _SMOOTHED_OVER)
    whole = len(values) - len(values) % width
    shape = (-1, width)
    return (
        steps[:whole].reshape(shape).mean(axis=1).astype(np.float64),
        values[:whole].reshape(shape).mean(axis=1),
    )
