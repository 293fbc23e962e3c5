"""Recipe sections ``watch`` and ``tracking`` of a training run: what is looked out for and told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.recipe.base import Section


class Watch(Section):
    """What a run looks out for while it trains."""

    spike_factor: float = Field(6.0, gt=1.0)
    """A loss is a spike when it lies so many typical deviations above the running median: six are
    two in a billion steps by chance. AstroSage-70B had a spike in its first epoch (AstroMLab 4,
    Figure 2)."""
    spike_window_steps: int = Field(64, ge=8)
    """Steps that the median is taken over; nothing is judged before a quarter of them."""
    on_spike: Literal["report", "rewind"] = "report"
    """``report``: a warning in the log, and the step in ``spikes.json``. ``rewind``: back to the
    checkpoint before it, and on without the sequences of that step, which ``spikes.json`` lists;
    the schedule stays as it is. Whichever checkpoint that is, the result is the same."""
    max_rewinds: int = Field(8, ge=0)
    """A run that spikes more often than this stops: its rate is too high, or its data is bad."""
    hang_minutes: float = Field(60.0, gt=0)
    """A worker that finishes no step for so long writes what all its threads do to ``logs/`` and
    ends the run, which a scheduler can then start again."""
    straggler_factor: float = Field(1.5, gt=1.0)
    """A worker whose own part of a step takes so many times the median of all workers is named."""
    straggler_every_steps: int = Field(50, ge=1)
    """How often the workers compare their times; it costs one small message."""


class Tracking(Section):
    """Where metrics go besides ``metrics.jsonl`` and ``logs/speed.jsonl``."""

    tensorboard: bool = True
    """Event files in ``logs/tensorboard``."""
    wandb_project: str | None = None
    """Weights & Biases. The key comes from ``WANDB_API_KEY``; ``WANDB_MODE=offline`` keeps all in
    ``logs/wandb`` for a later ``wandb sync``. It gets numbers and the machine's load: no code, no
    console output. Needs ``wandb``."""
    mlflow_uri: str | None = None
    """Address of an MLflow tracking server, or a folder. Who one is comes from
    ``MLFLOW_TRACKING_TOKEN``, or ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``.
    Needs ``mlflow-skinny`` or ``mlflow``."""
    peak_tflop_per_s: float | None = Field(None, gt=0)
    """Of one accelerator in the run's dtype, for the model FLOP utilisation (MFU): 191.5 for a GCD
    of MI250X in bfloat16 (half of AMD's 383 for the card)."""
