r"""Matrices cut over the workers of a tensor-parallel group, and the two sums they need.

::

    x (same on all)  ── copy_to ──→  W1 cut by columns (of outputs) ──→ a slice of the activations
                                          W2 cut by rows (of inputs) ←──┘
    y (same on all)  ←── sum_over ── a part of every output

``copy_to`` does nothing forward and sums gradients backward; ``sum_over`` is its mirror image.
Source: Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional


@dataclass(frozen=True)
class TensorGroup:
    """The workers that share every matrix.

    Args:
        group: process group; None where there is one worker.
        rank: of this worker in it, which is the slice that it holds.
        size: workers.
    """

    group: Any = None
    rank: int = 0
    size: int = 1

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Adds up a tensor over the group, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, group=self.group)
        return tensor

    def maximum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Takes the largest of each number over the group, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=self.group)
        return tensor


@dataclass(frozen=True)
class Held:
    """A parameter as one worker holds it.

    Args:
        name: Hugging Face's.
        parameter: the slice, or all of it.
        slice_dim: dimension that is cut; None: every worker of the group holds all of it.
    """

    name: str
    parameter: nn.Parameter
    slice_dim: int | None

    def whole_shape(self, slices: int) -> tuple[int, ...]:
        """Returns the shape of all slices together."""
        shape = list(self.parameter.shape)
        if self.slice_dim is not None:
            shape[self.slice_dim] *= slices
        return tuple(shape)


def new_parameter(
    whole_shape: tuple[int, ...], slice_dim: int | None, slices: int, dtype: torch.dtype
) -> nn.Parameter:
    """Returns memory for this worker's part of a tensor, not filled.

    Args:
        whole_shape: of all slices together.
        slice_dim: dimension that is cut, if any.
        slices: into how many.
        dtype: of the weights.
    """
    shape = list(whole_shape)
    if slice_dim is not None:
        shape[slice_dim] //= slices
    parameter = nn.Parameter(torch.empty(shape, dtype=dtype))
    # DeepSpeed counts a parameter without this mark once per group in the gradient norm: a cut
    # one would be left out on all workers but the first.
    parameter.model_parallel = slice_dim is not None and slices > 1  # type: ignore[attr-defined]
    return parameter


class _CopyTo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, tensor_group: TensorGroup) -> torch.Tensor:
        ctx.tensor_group = tensor_group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        # A clone: autograd may use the incoming gradient elsewhere too.
        return ctx.tensor_group.sum(grads[0].clone(memory_format=torch.contiguous_format)), None


class _SumOver(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, tensor_group: TensorGroup) -> torch.Tensor:
        ctx.mark_dirty(x)
        return tensor_group.sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


def copy_to(x: torch.Tensor, tensor_group: TensorGroup) -> torch.Tensor:
    """Returns ``x``; its gradient is summed over the group."""
    if tensor_group.size == 1:
        return x
    result: torch.Tensor = _CopyTo.apply(x, tensor_group)  # type: ignore[no-untyped-call]
    return result


def sum_over(x: torch.Tensor, tensor_group: TensorGroup) -> torch.Tensor:
    """Returns ``x`` summed over the group, in place; its gradient is passed on as it is.

    Args:
        x: contiguous, a result that nothing else uses.
        tensor_group: over whom.
    """
    if tensor_group.size == 1:
        return x
    result: torch.Tensor = _SumOver.apply(x, tensor_group)  # type: ignore[no-untyped-call]
    return result


class Linear(nn.Module):
    """A matrix without bias, (out, in) as in Hugging Face, cut in one of its dimensions.

    ``slice_dim`` 0 (columns): the input is whole, the output a slice. 1 (rows): the input is a
    slice, the output a part of the sum, which the caller adds up with :func:`sum_over`.
    """

    def __init__(
        self, whole_shape: tuple[int, ...], slice_dim: int, slices: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.slice_dim = slice_dim
        self.weight = new_parameter(whole_shape, slice_dim, slices, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns ``x`` times the slice held here."""
        return functional.linear(x, self.weight)
