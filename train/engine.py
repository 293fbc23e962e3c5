"""What the training loop asks of an engine, and the loss that all engines share.

The loss of a step is the cross entropy summed over every trained token of the global batch,
divided by their number: one mean. A mean per micro batch, averaged again over accumulation and
workers, would weigh a token more the fewer trained tokens its micro batch happens to hold, which
is wrong wherever loss masks differ (fine-tuning, the padded last batch).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from train.data import IGNORE, MicroBatch


@dataclass(frozen=True)
class StepResult:
    """One optimizer step, over all workers.

    Args:
        loss: mean cross entropy per trained token, nats; 0 where the batch has none.
        grad_norm: L2 norm of the gradient before clipping.
        update_norm: L2 norm of the change of the parameters: the green curve of AstroMLab 3,
            Figure 2.
        tokens: trained tokens.
    """

    loss: float
    grad_norm: float
    update_norm: float
    tokens: int


class TrainEngine(ABC):
    """A model with its optimizer, spread over workers. Every worker makes the same calls."""

    parameters: int
    """Trainable numbers of the whole model."""

    @abstractmethod
    def step(self, micro_batches: Sequence[MicroBatch], learning_rate: float) -> StepResult:
        """Trains on this worker's share of a global batch."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes config and safetensors of the whole model; only rank 0 touches the disk."""


def summed_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the cross entropy summed over trained tokens, in float32.

    Args:
        logits: (B, L, V); those at i predict the token at i + 1.
        labels: (B, L), :data:`train.data.IGNORE` where a token is not trained.
    """
    return functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        labels[:, 1:].flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )
