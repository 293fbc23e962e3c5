"""Hugging Face weights into a stage's parameters, piece by piece.

A worker reads the tensors of its own layers and of those only its slice, at most 16 MiB at a time:
no process ever holds more than what it trains and one such piece. Source of the format:
https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import InputError
from core.model_folder import weight_files
from train.pipeline.shape import LlamaShape
from train.pipeline.tensor_parallel import Held, TensorGroup

PIECE_BYTES = 16 * 2**20
"""Read at once. A file is mapped into memory while it is open, and what was touched counts as
memory of this process: it is closed again after each piece."""

_FLOATS = ("BF16", "F16", "F32", "F64")


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies."""

    path: Path
    shape: tuple[int, ...]


def find_tensors(folder: Path) -> dict[str, Stored]:
    """Returns every tensor in the safetensors files of a folder, from their headers alone.

    Raises:
        InputError: a file is unreadable or holds numbers that are not floats.
    """
    found: dict[str, Stored] = {}
    for path in weight_files(folder):
        with _open(path) as file:
            for name in file.keys():  # noqa: SIM118 (safe_open is no dict)
                part = file.get_slice(name)
                if part.get_dtype() in _FLOATS:
                    found[name] = Stored(path, tuple(part.get_shape()))
    return found


def check_tensors(folder: Path, shape: LlamaShape) -> dict[str, Stored]:
    """Returns :func:`find_tensors`, once it holds all that config.json promises.

    Raises:
        InputError: a tensor is missing, of another shape or not of floats.
    """
    found = find_tensors(folder)
    for name, size in shape.tensors().items():
        have = found.get(name)
        if have is None:
            raise _mismatch(folder, f"there are no float weights {name}")
        if have.shape != size:
            raise _mismatch(folder, f"{name} is {have.shape}, config.json makes it {size}")
    return found


@torch.no_grad()
def read_weights(
    stored: dict[str, Stored],
    held: Iterable[Held],
    tensor_group: TensorGroup,
    piece_bytes: int = PIECE_BYTES,
) -> None:
    """Fills parameters with this worker's part of the stored tensors, converted to their dtype.

    Args:
        stored: from :func:`check_tensors`.
        held: what to fill.
        tensor_group: which slice is this worker's.
        piece_bytes: read at once, at least one row.
    """
    for part in held:
        where = stored[part.name]
        target = part.parameter
        slices = _slices(where.shape, part.slice_dim, tensor_group)
        first, end = slices[0].start, slices[0].stop
        row_numbers = max(1, where.shape[1] if len(where.shape) > 1 else 1)
        rows = max(1, piece_bytes // (4 * row_numbers))
        for row in range(first, end, rows):
            last = min(row + rows, end)
            with _open(where.path) as file:
                piece = file.get_slice(part.name)[(slice(row, last), *slices[1:])]
                target[row - first : last - first].copy_(piece)
                del piece


def _slices(
    shape: tuple[int, ...], slice_dim: int | None, tensor_group: TensorGroup
) -> tuple[slice, ...]:
    found = [slice(0, size) for size in shape]
    if slice_dim is not None:
        size = shape[slice_dim] // tensor_group.size
        found[slice_dim] = slice(tensor_group.rank * size, (tensor_group.rank + 1) * size)
    return tuple(found)


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"cannot read the weights: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="the file is truncated or not safetensors: copy or download it again",
        ) from error


def _mismatch(folder: Path, what: str) -> InputError:
    return InputError(
        f"weights and config.json do not agree: {what}",
        where=str(folder),
        remedy="the folder is incomplete or mixes two models: copy or download it again",
    )
