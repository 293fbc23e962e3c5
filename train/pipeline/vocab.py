r"""Embedding, head and loss with the vocabulary cut over the tensor-parallel group.

::

    vocabulary  [ 0 ... V/2 ) [ V/2 ... V )        worker 0 | worker 1
    embedding   a worker looks up its own tokens, zero for others, and the group sums
    loss        each worker has (T, V/2) logits; the group exchanges three numbers per token:
                the largest logit, the sum of exponentials, the logit of the target

With Llama 3's 128,256 tokens the whole logits of 8,192 tokens would be 4.2 GB in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from train.data import IGNORE
from train.pipeline.shape import EMBEDDING, HEAD, LlamaShape
from train.pipeline.tensor_parallel import Held, TensorGroup, copy_to, new_parameter, sum_over


class _VocabMatrix(nn.Module):
    """(V / tp, E): the rows of the tokens that this worker answers for."""

    def __init__(self, shape: LlamaShape, tensor_group: TensorGroup, dtype: torch.dtype) -> None:
        super().__init__()
        self.tensor_group = tensor_group
        whole = (shape.vocabulary, shape.hidden)
        self.weight = new_parameter(whole, 0, tensor_group.size, dtype)


class VocabEmbedding(_VocabMatrix):
    """First layer: token ids to activations. Tied, it is the head too."""

    def held(self) -> Iterator[Held]:
        """Yields its parameters."""
        yield Held(EMBEDDING, self.weight, 0)

    def forward(
        self, inputs: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns (B, S, E) for token ids (B, S); positions pass through."""
        ids, positions = inputs
        if self.tensor_group.size == 1:
            return functional.embedding(ids, self.weight), positions
        local, mine = _mine(ids, len(self.weight), self.tensor_group)
        found = functional.embedding(local, self.weight) * mine[..., None]
        return sum_over(found, self.tensor_group), positions


class VocabHead(_VocabMatrix):
    """Last layer of a model whose head is a matrix of its own."""

    def held(self) -> Iterator[Held]:
        """Yields its parameters."""
        yield Held(HEAD, self.weight, 0)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the logits (B, S, V / tp) of this worker's tokens."""
        return logits_of(self, hidden)


def logits_of(matrix: _VocabMatrix, hidden: torch.Tensor) -> torch.Tensor:
    """Returns the logits (B, S, V / tp) for activations (B, S, E); the tied head calls it."""
    return functional.linear(copy_to(hidden, matrix.tensor_group), matrix.weight)


def _mine(
    ids: torch.Tensor, rows: int, tensor_group: TensorGroup
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ids as rows of this worker, 0 where they are not, and which are."""
    local = ids - rows * tensor_group.rank
    mine = (local >= 0) & (local < rows)
    return local * mine, mine


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, tensor_group: TensorGroup
    ) -> torch.Tensor:
        trained = targets != IGNORE
        local, mine = _mine(targets, logits.shape[-1], tensor_group)
        largest = tensor_group.maximum(logits.max(dim=-1).values.float())
        shifted = logits.float() - largest[:, None]
        of_target = shifted.gather(-1, local[:, None])[:, 0] * mine
        exponentials = shifted.exp_()
        both = tensor_group.sum(torch.stack([of_target, exponentials.sum(dim=-1)]))
        losses = both[1].log() - both[0]
        ctx.save_for_backward(exponentials.div_(both[1][:, None]), local, mine, trained)
        ctx.dtype = logits.dtype
        return (losses * trained).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        probabilities, local, mine, trained = ctx.saved_tensors
        # The derivative of log(sum(exp)) is the softmax, that of the target's logit is one.
        # In place: with a large vocabulary this is the largest tensor of a training step.
        grad = probabilities.scatter_add_(-1, local[:, None], -mine[:, None].float())
        return grad.mul_((trained * grads[0])[:, None]).to(ctx.dtype), None, None


def vocab_parallel_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, tensor_group: TensorGroup
) -> torch.Tensor:
    """Returns the cross entropy summed over trained tokens, float32; nobody holds whole logits.

    Args:
        logits: (T, V / tp), this worker's slice.
        targets: (T,) token ids of the whole vocabulary; :data:`train.data.IGNORE`: not trained.
        tensor_group: who holds the other slices.
    """
    result: torch.Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        logits, targets, tensor_group
    )
    return result
