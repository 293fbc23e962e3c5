"""Rotary position embedding with the scalings of Llama: none, linear, and Llama 3.1's.

Llama 3.1 stretches only the slow waves, those that do not complete a turn within the context that
the model was first trained with (8,192 tokens), and blends between the two kinds.
"""

from __future__ import annotations

import math

import torch

from train.pipeline.shape import Rope


def inverse_frequencies(rope: Rope, head_dim: int) -> torch.Tensor:
    """Returns the angle per position of each pair of dimensions; float32, (D / 2,)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    inverse = 1.0 / (rope.theta**exponents)
    if rope.kind == "linear":
        return inverse / rope.factor
    if rope.kind == "llama3":
        return _llama3(inverse, rope)
    return inverse


def _llama3(inverse: torch.Tensor, rope: Rope) -> torch.Tensor:
    wavelength = 2 * math.pi / inverse
    longest_kept = rope.original_positions / rope.high_freq_factor
    shortest_stretched = rope.original_positions / rope.low_freq_factor
    share_kept = (rope.original_positions / wavelength - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blended = (1 - share_kept) * inverse / rope.factor + share_kept * inverse
    found = torch.where(wavelength > shortest_stretched, inverse / rope.factor, blended)
    return torch.where(wavelength < longest_kept, inverse, found)


def cosines_and_sines(
    positions: torch.Tensor, inverse: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what :func:`rotate` multiplies with, both (B, S, 1, D).

    Args:
        positions: (B, S), int64.
        inverse: from :func:`inverse_frequencies`.
        dtype: of the result; angles are computed in float32.
    """
    angles = positions[..., None].float() * inverse
    angles = torch.cat([angles, angles], dim=-1)[:, :, None, :]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Returns queries or keys (B, S, H, D), each turned by its position.

    Dimension i pairs with i + D / 2, as in Hugging Face's weights.
    """
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine
