"""Loss spikes: a step's loss against the median of the steps before.

The loss of a healthy run falls slowly and scatters little. The scatter is measured by the median
absolute deviation, which one spike does not widen (as a standard deviation would).
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from core.atomic import write_json
from train.spec import SPIKES_NAME

_NORMAL = 1.4826
"""From the median absolute deviation to the standard deviation of a normal distribution."""
_LEAST_SHARE = 0.005
"""Scatter that is always granted, as a share of the median: a flat loss has none of its own."""


@dataclass(frozen=True)
class Spike:
    """A step whose loss jumped.

    Args:
        step: its number.
        loss: nats per trained token.
        deviations: how far above the median.
        documents: whose tokens are in its sequences.
    """

    step: int
    loss: float
    deviations: float
    documents: tuple[str, ...]


def first_judged(window_steps: int) -> int:
    """Returns the first step that can be a spike: before it there are too few to compare with."""
    return max(2, window_steps // 4) + 1


def add_spike(out: Path, spike: Spike, action: str) -> None:
    """Adds a spike to ``spikes.json``.

    Args:
        out: folder that the run fills.
        spike: what was found.
        action: what is done: ``reported`` or ``left out``.
    """
    write_json(out / SPIKES_NAME, [*read_spikes(out), {**asdict(spike), "action": action}])


def read_spikes(out: Path) -> list[dict[str, Any]]:
    """Returns the spikes of a run so far."""
    path = out / SPIKES_NAME
    return list(json.loads(path.read_text("utf-8"))) if path.exists() else []


class SpikeDetector:
    """Judges losses in order; a spike does not enter the window that it was judged by.

    Args:
        factor: deviations above the median from which on a loss is a spike.
        window_steps: losses that the median is taken over.
        losses: of the steps so far, for a run that goes on.
    """

    def __init__(self, factor: float, window_steps: int, losses: Iterable[float] = ()) -> None:
        self._factor = factor
        self._needed = first_judged(window_steps) - 1
        self._window: deque[float] = deque(maxlen=window_steps)
        for loss in losses:
            self.deviations(loss)

    def deviations(self, loss: float) -> float | None:
        """Returns how many deviations above the median a spike is; None for any other loss."""
        if len(self._window) < self._needed:
            if math.isfinite(loss):
                self._window.append(loss)
            return None
        middle = median(self._window)
        scatter = _NORMAL * median(abs(value - middle) for value in self._window)
        above = (loss - middle) / max(scatter, _LEAST_SHARE * abs(middle), 1e-12)
        if above > self._factor or not math.isfinite(loss):
            return above
        self._window.append(loss)
        return None
