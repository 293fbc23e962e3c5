"""Training runs as the report shows them: curves, held-out losses, speed and loss spikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.report.gather.files import finite, json_lines, read_json

CURVE_POINTS = 400
"""Points drawn per curve at most; longer runs are averaged in equal bins."""

QUANTITIES = ("loss", "learning_rate", "update_norm", "grad_norm")
_NEEDED = ("step", "loss", "learning_rate")
_SPIKES_SHOWN = 20


@dataclass(frozen=True)
class Curve:
    """A training run: columns of equal length.

    Args:
        stage: its name.
        steps: optimizer steps.
        values: of each quantity that was written, one per entry of ``steps``.
        last_step: number of the last step.
        heldout: steps and losses of each held-out set.
        tokens_per_s: median over the steps, None where the speed log is gone.
        spikes: steps whose loss jumped.
    """

    stage: str
    steps: list[float]
    values: dict[str, list[float]]
    last_step: int
    heldout: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    tokens_per_s: float | None = None
    spikes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def loss(self) -> list[float]:
        """Nats per trained token."""
        return self.values["loss"]


def read_curve(stage: str, folder: Path) -> Curve | None:
    """Returns a training run's curves, or None where it wrote none.

    Reads ``metrics.jsonl`` twice, to count the steps and to average them, so that a long run costs
    no more memory than a short one. Lines that are cut short (a run was killed) are passed over.

    Args:
        stage: its name.
        folder: of the stage.
    """
    path = folder / "metrics.jsonl"
    total = sum(1 for row in json_lines(path) if _usable(row))
    if not total:
        return None
    points = min(CURVE_POINTS, total)
    names = ("step", *QUANTITIES)
    sums: npt.NDArray[np.float64] = np.zeros((points, len(names)))
    counts: npt.NDArray[np.float64] = np.zeros((points, len(names)))
    last_step = 0
    for place, row in enumerate(row for row in json_lines(path) if _usable(row)):
        if place >= total:
            break
        line = place * points // total
        for column, name in enumerate(names):
            value = finite(row.get(name))
            if value is not None:
                sums[line, column] += value
                counts[line, column] += 1
        last_step = int(row["step"])
    with np.errstate(invalid="ignore"):
        means = sums / counts
    # A quantity that some bin lacks would break its line: it is left out.
    whole = [i for i, name in enumerate(names) if name != "step" and counts[:, i].all()]
    return Curve(
        stage,
        means[:, 0].tolist(),
        {names[i]: means[:, i].tolist() for i in whole},
        last_step,
        heldout=_heldout(folder / "evaluation.jsonl"),
        tokens_per_s=_speed(folder / "logs" / "speed.jsonl"),
        spikes=_spikes(folder / "spikes.json"),
    )


def _usable(row: dict[str, Any]) -> bool:
    return all(finite(row.get(name)) is not None for name in _NEEDED)


def _heldout(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in json_lines(path):
        step, losses = finite(row.get("step")), row.get("evaluation")
        if step is None or not isinstance(losses, dict):
            continue
        for name, value in losses.items():
            loss = finite(value)
            if loss is not None:
                steps, points = found.setdefault(str(name), ([], []))
                steps.append(step)
                points.append(loss)
    return {name: (_thin(steps), _thin(losses)) for name, (steps, losses) in found.items()}


def _thin(values: Sequence[float]) -> list[float]:
    every = -(-len(values) // CURVE_POINTS) or 1
    return list(values[::every])


def _speed(path: Path) -> float | None:
    speeds = [v for row in json_lines(path) if (v := finite(row.get("tokens_per_s"))) is not None]
    return median(speeds) if speeds else None


def _spikes(path: Path) -> list[dict[str, Any]]:
    found = read_json(path)
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return [
        {
            "step": row.get("step"),
            "loss": finite(row.get("loss")),
            "deviations": finite(row.get("deviations")),
            "action": str(row.get("action") or ""),
            "documents": [str(d) for d in row.get("documents") or []][:3],
        }
        for row in rows[:_SPIKES_SHOWN]
    ]
