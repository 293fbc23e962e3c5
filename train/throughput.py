"""How fast a step was: tokens and arithmetic per second, share of the peak, waiting, memory."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class StepSpeed:
    """One optimizer step by the clock; a line of ``logs/speed.jsonl``.

    Args:
        step: 1 for the first.
        seconds: from the end of the step before.
        data_wait_seconds: of them, waited for sequences.
        tokens_per_s: tokens of the global batch per second, all workers together.
        tflop_per_s: model arithmetic per second and worker (recomputation not counted), 10^12.
        mfu: the same as a share of the accelerator's peak, where the recipe gives it.
        trained_share: tokens with a loss over all tokens.
        memory_bytes: peak so far of rank 0: on the accelerator, or of the process without one.
    """

    step: int
    seconds: float
    data_wait_seconds: float
    tokens_per_s: float
    tflop_per_s: float
    mfu: float | None
    trained_share: float
    memory_bytes: int


@dataclass(frozen=True)
class Rates:
    """What does not change over a run.

    Args:
        batch_tokens: tokens of a global batch.
        flop_per_token: forward and backward (:func:`train.budget.flop_per_token`).
        workers: accelerators, or processes without one.
        peak_tflop_per_s: of one of them, if known.
    """

    batch_tokens: int
    flop_per_token: float
    workers: int
    peak_tflop_per_s: float | None

    def speed(
        self, step: int, seconds: float, data_wait_seconds: float, trained_tokens: int
    ) -> StepSpeed:
        """Returns a step by the clock."""
        seconds = max(seconds, 1e-9)
        tflop = self.batch_tokens * self.flop_per_token / seconds / self.workers / 1e12
        peak = self.peak_tflop_per_s
        return StepSpeed(
            step=step,
            seconds=round(seconds, 4),
            data_wait_seconds=round(data_wait_seconds, 4),
            tokens_per_s=round(self.batch_tokens / seconds, 1),
            tflop_per_s=float(f"{tflop:.4g}"),
            mfu=None if peak is None else float(f"{tflop / peak:.4g}"),
            trained_share=round(trained_tokens / self.batch_tokens, 4),
            memory_bytes=peak_memory_bytes(),
        )


class Waiting:
    """Adds up the seconds spent inside ``with`` blocks since it was last asked."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._began

    def take(self) -> float:
        """Returns the seconds so far and starts again at zero."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def peak_memory_bytes() -> int:
    """Returns the peak memory so far: of the accelerator, or of this process without one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
