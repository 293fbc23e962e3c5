r"""Causal attention that stays within documents, known by positions that restart.

::

    tokens      a b c d e | f g h         one packed sequence, two documents
    positions   0 1 2 3 4 | 0 1 2
    visible     lower triangle of each document, nothing of another

On a CPU, and on a GPU in float32, PyTorch's scaled dot product attention gets an explicit mask. On
an NVIDIA GPU in bfloat16 the flash kernel takes the bounds of the documents instead, and does no
work between them. An AMD GPU gets the mask.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache

import torch
from torch.nn import functional

from train.pipeline.rope import cosines_and_sines, inverse_frequencies
from train.pipeline.shape import Rope

_FLASH_CAPABILITY = (8, 0)
"""Compute capability that PyTorch's flash kernels need: Ampere."""


@dataclass(frozen=True)
class Bounds:
    """Documents of a batch laid end to end: ``ends[i]`` to ``ends[i + 1]`` is one of them."""

    ends: torch.Tensor
    """int32, (documents + 1,), in tokens."""
    longest_tokens: int


@dataclass(frozen=True)
class Documents:
    """What the layers of a stage need to know of a micro batch, made once for all of them."""

    cosine: torch.Tensor
    sine: torch.Tensor
    mask: torch.Tensor | None
    """(B, 1, S, S), true where a token may look; None: everything before it."""
    bounds: Bounds | None
    """Where the flash kernel is used."""


class Layout:
    """Makes :class:`Documents` of positions, and keeps the last: layers of a stage share it."""

    def __init__(self, rope: Rope, head_dim: int, dtype: torch.dtype) -> None:
        """Remembers how positions become angles.

        Args:
            rope: kind and scaling.
            head_dim: D.
            dtype: of the activations.
        """
        self._inverse = inverse_frequencies(rope, head_dim)
        self._dtype = dtype
        self._last: tuple[torch.Tensor, Documents] | None = None

    def of(self, positions: torch.Tensor) -> Documents:
        """Returns the layout of positions (B, S)."""
        if self._last is None or self._last[0] is not positions:
            self._last = (positions, self._make(positions))
        return self._last[1]

    def _make(self, positions: torch.Tensor) -> Documents:
        self._inverse = self._inverse.to(positions.device)
        cosine, sine = cosines_and_sines(positions, self._inverse, self._dtype)
        first = torch.ones_like(positions, dtype=torch.bool)
        first[:, 1:] = positions[:, 1:] != positions[:, :-1] + 1
        if _has_flash(positions.device, self._dtype):
            return Documents(cosine, sine, None, _bounds(first))
        return Documents(cosine, sine, _mask(first), None)


def _has_flash(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cuda" or dtype != torch.bfloat16 or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= _FLASH_CAPABILITY and _varlen_fits()


@cache
def _varlen_fits() -> bool:
    """Whether this PyTorch has the flash kernel for documents, with the options used here."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters)


def _mask(first: torch.Tensor) -> torch.Tensor | None:
    """Returns who may look at whom, None for one document per sequence; ``first`` is (B, S)."""
    if int(first.sum()) == len(first):
        return None
    document = first.cumsum(dim=1)
    same = document[:, None, :, None] == document[:, None, None, :]
    return same.tril_()


def _bounds(first: torch.Tensor) -> Bounds:
    starts = first.flatten().nonzero()[:, 0]
    ends = torch.cat([starts, starts.new_tensor([first.numel()])])
    return Bounds(ends.int(), int(ends.diff().max()))


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, documents: Documents
) -> torch.Tensor:
    """Returns the attention's result (B, S, H, D).

    Args:
        query: (B, S, H, D), rotated.
        key: (B, S, K, D), rotated; K divides H, and H / K queries share a key.
        value: (B, S, K, D).
        documents: who may look at whom.
    """
    if documents.bounds is not None:
        return _flash(query, key, value, documents.bounds)
    group = query.shape[2] // key.shape[2]
    if group > 1:
        key, value = (x.repeat_interleave(group, dim=2) for x in (key, value))
    found = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=documents.mask,
        is_causal=documents.mask is None,
    )
    return found.transpose(1, 2)


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: Bounds
) -> torch.Tensor:
    # Imported here: machines without flash need none.
    from torch.nn.attention.varlen import varlen_attn

    found = varlen_attn(
        query.flatten(0, 1),
        key.flatten(0, 1),
        value.flatten(0, 1),
        bounds.ends,
        bounds.ends,
        bounds.longest_tokens,
        bounds.longest_tokens,
        window_size=(-1, 0),  # causal
        enable_gqa=True,
    )
    assert isinstance(found, torch.Tensor)
    return found.view_as(query)
