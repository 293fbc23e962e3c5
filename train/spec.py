"""What the stage tells the loop, and where the loop writes; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

METRICS_NAME = "metrics.jsonl"
"""One JSON object per step: what was learned. The same for two equal runs."""

SPEED_NAME = "logs/speed.jsonl"
"""One JSON object per step: how fast; the first line says how long the start took."""


@dataclass(frozen=True)
class LoopSpec:
    """What a worker needs to know; plain values, as Ray Train wants them.

    Args:
        stage: name of the stage, for errors.
        model: folder of the weights to start from.
        tokens: dataset folder of packed sequences.
        out: folder that the run fills.
        section: :class:`core.recipe.train.Trainer` as a dictionary.
        seed: of the order of sequences.
        threads: of one worker.
        started: ``time.time()`` when the stage began.
        replay: dataset folder of the general text mixed in, if any.
    """

    stage: str
    model: str
    tokens: str
    out: str
    section: dict[str, Any]
    seed: int
    threads: int
    started: float
    replay: str | None = None
