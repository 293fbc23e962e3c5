"""What the training loop asks of an engine, and the loss that all engines share.

The loss of a step is the cross entropy summed over every trained token of the global batch,
divided by their number: one mean. A mean per micro batch, averaged again over accumulation and
workers, would weigh a token more the fewer trained tokens its micro batch happens to hold, which
is wrong wherever loss masks differ (fine-tuning, the padded last batch).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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


@dataclass(frozen=True)
class StateFragment:
    """What one rank holds of one parameter: a run of numbers of its float32 state.

    ::

        whole parameter (H, W)      tensor-parallel part           this rank's values
        [slice 0 | slice 1]   ->    [slice 1], contiguous    ->    part.flatten()[start:start + n]

    Together the fragments of all ranks cover every parameter exactly once, so a checkpoint that is
    made of them can be read into any other layout of workers.

    Args:
        name: of the Hugging Face parameter.
        shape: of the whole parameter.
        slice_dim: dimension that tensor parallelism cuts into equal slices; None: it is whole.
        slice_index: which slice; 0 where it is whole.
        slice_count: how many slices there are; 1 where it is whole.
        start: where ``values`` begin in the flattened slice.
        values: 1-D float32 of equal lengths: ``weight`` (master weights) and AdamW's moments
            ``exp_avg`` and ``exp_avg_sq``. Views of live state are fine: whoever keeps them past
            the next step copies them.
    """

    name: str
    shape: tuple[int, ...]
    slice_dim: int | None
    slice_index: int
    slice_count: int
    start: int
    values: dict[str, torch.Tensor]


STATE_KINDS = ("weight", "exp_avg", "exp_avg_sq")
"""What a fragment holds of each number: the float32 weight and AdamW's two moments."""


class ReadState(Protocol):
    """A saved state, read a tensor at a time whatever layout it was saved in."""

    def __call__(self, name: str, kind: str) -> torch.Tensor:
        """Returns a whole parameter.

        Args:
            name: of the Hugging Face parameter.
            kind: one of :data:`STATE_KINDS`.
        """

    def part(
        self,
        name: str,
        kind: str,
        start: int,
        length: int,
        cut: tuple[int, int, int] | None = None,
    ) -> torch.Tensor:
        """Returns a run of a flattened parameter; files without any of it are not read.

        Args:
            name: of the Hugging Face parameter.
            kind: one of :data:`STATE_KINDS`.
            start: where it begins in the flattened parameter (or slice).
            length: numbers.
            cut: (dimension, index, count) of a tensor-parallel slice; None: the whole parameter.
        """


class TrainEngine(ABC):
    """A model with its optimizer, spread over workers. Every worker makes the same calls."""

    parameters: int
    """Trainable numbers of the whole model."""
    vocabulary: int
    """Rows of the embedding: a token id must be below it."""
    data_rank: int
    """Which slice of the global batch this worker trains on."""
    data_size: int
    """Into how many slices the global batch is cut."""

    @abstractmethod
    def step(self, micro_batches: Sequence[MicroBatch], learning_rate: float) -> StepResult:
        """Trains on this worker's share of a global batch."""

    @abstractmethod
    def evaluate(self, micro_batches: Sequence[MicroBatch]) -> tuple[float, int]:
        """Measures without training.

        Args:
            micro_batches: this worker's share; as many on every worker.

        Returns:
            The summed cross entropy in nats and its tokens, over all workers.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes config and safetensors of the whole model; only rank 0 touches the disk."""

    @abstractmethod
    def fragments(self) -> Iterator[StateFragment]:
        """Yields this rank's part of the state; what several ranks hold, only one of them yields.

        No communication: a rank may stop reading at any time.
        """

    @abstractmethod
    def load_fragments(self, read: ReadState, step: int) -> None:
        """Takes this rank's part of a saved state.

        Args:
            read: gives whole tensors by ``read(name, kind)``, or only a part of one.
            step: optimizer steps done, for AdamW's bias correction.
        """


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
