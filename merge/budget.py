"""What a merge takes: disk for what is written, memory for what is held at once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import InputError
from core.memory import free_memory_bytes
from merge.weights import ModelWeights

OUT_SHARD_BYTES = 5_000_000_000
"""Of a written weight file at most: what the Hub's models have."""

_BYTES = {"float32": 4, "bfloat16": 2}
_TENSORS_HELD = 9
"""Memory of mergekit at its peak, in copies of the largest tensor in float32, for a base and two
models; every model beyond them adds :data:`_TENSORS_PER_MODEL`. Measured on tensors of 256 MB
at density 0.5: DARE-TIES 7.0 and 11.3 copies with two and three models; on 51 MB: TIES 8.7."""
_TENSORS_PER_MODEL = 5
_START_BYTES = 1_000_000_000
"""PyTorch, transformers and mergekit themselves."""
_SHARD_COPIES = 2
"""A weight file is put together in memory, and once more as bytes while it is written."""
_HEADER_BYTES = 10_000_000
"""Config, tokenizer, headers, card."""

_GIB = 2**30


@dataclass(frozen=True)
class Budget:
    """What a merge takes and what there is, in bytes.

    Args:
        tensors, parameters: of the merged model.
        out_bytes: what is written.
        memory_bytes: what is held at the peak, estimated.
        free_disk_bytes, free_memory_bytes: what there is; memory None where it is not known.
    """

    tensors: int
    parameters: int
    out_bytes: int
    memory_bytes: int
    free_disk_bytes: int
    free_memory_bytes: int | None

    def times(self, merges: int) -> Budget:
        """Returns the same with the disk of several merged models."""
        return replace(self, out_bytes=self.out_bytes * merges)


def estimate(weights: ModelWeights, models: int, out_dtype: str, folder: Path) -> Budget:
    """Returns what a merge takes.

    Args:
        weights: of one of the models; all have the same shapes.
        models: how many are read, the base included.
        out_dtype: ``float32`` or ``bfloat16``.
        folder: where the merged model is written; need not exist yet.
    """
    out_bytes = weights.parameters * _BYTES[out_dtype] + _HEADER_BYTES
    held = _TENSORS_HELD + _TENSORS_PER_MODEL * max(0, models - 3)
    memory = held * weights.largest * 4 + _SHARD_COPIES * min(out_bytes, OUT_SHARD_BYTES)
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return Budget(
        tensors=len(weights.shapes),
        parameters=weights.parameters,
        out_bytes=out_bytes,
        memory_bytes=memory + _START_BYTES,
        free_disk_bytes=shutil.disk_usage(existing).free,
        free_memory_bytes=free_memory_bytes(),
    )


def check_budget(budget: Budget, where: str) -> None:
    """Checks that there is room.

    Raises:
        InputError: disk or memory is too small.
    """
    if budget.out_bytes > budget.free_disk_bytes:
        raise InputError(
            f"the merged model takes {_gib(budget.out_bytes)} of disk, and "
            f"{_gib(budget.free_disk_bytes)} are free",
            where=where,
            remedy="make room, or put run_dir on another disk",
        )
    free = budget.free_memory_bytes
    if free is not None and budget.memory_bytes > free:
        raise InputError(
            f"the merge takes about {_gib(budget.memory_bytes)} of memory, and {_gib(free)} are "
            "free",
            where=where,
            remedy="run it on a larger machine, or with fewer models (or merge.sweep.at_once)",
        )


def _gib(size: int) -> str:
    return f"{size / _GIB:,.2f} GiB"
