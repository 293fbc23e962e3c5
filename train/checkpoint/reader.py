"""Tensors of a checkpoint, whole or in part, whatever layout wrote it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from core.errors import InputError
from train.checkpoint.files import SavedFragment, read_fragments, tensor_key

Cut = tuple[int, int, int]


@dataclass(frozen=True)
class _Stored:
    """Where a fragment lies."""

    path: Path
    number: int
    fragment: SavedFragment


class CheckpointReader:
    """Is the :class:`train.engine.ReadState` of a checkpoint's folder.

    Files stay closed between two reads, so no more than the asked tensor is in memory.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the headers of all workers' files."""
        self._folder = folder
        self._of: dict[str, list[_Stored]] = defaultdict(list)
        for path in sorted(folder.glob("rank-*.safetensors")):
            for number, fragment in enumerate(read_fragments(path)):
                self._of[fragment.name].append(_Stored(path, number, fragment))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The whole parameters that there are."""
        return {name: stored[0].fragment.shape for name, stored in self._of.items()}

    def __call__(self, name: str, kind: str) -> torch.Tensor:
        """Returns a whole parameter.

        Raises:
            InputError: it is not there, or not all of it.
        """
        stored = self._stored(name)
        shape = stored[0].fragment.shape
        cuts = {s.fragment.cut for s in stored}
        if cuts == {None}:
            return self._run(name, kind, 0, math.prod(shape), None).view(shape)
        whole = torch.empty(shape)
        dimension, _, count = next(cut for cut in cuts if cut is not None)
        size = shape[dimension] // count
        for index in range(count):
            target = whole.narrow(dimension, index * size, size)
            cut = (dimension, index, count)
            target.copy_(self._run(name, kind, 0, target.numel(), cut).view(target.shape))
        return whole

    def part(
        self, name: str, kind: str, start: int, length: int, cut: Cut | None = None
    ) -> torch.Tensor:
        """Returns a run of a flattened parameter, or of a flattened slice of it.

        Raises:
            InputError: it is not there, or not all of it.
        """
        if cut is not None and cut[2] == 1:
            cut = None
        if {s.fragment.cut and s.fragment.cut[::2] for s in self._stored(name)} == {
            cut and cut[::2]
        }:
            return self._run(name, kind, start, length, cut)
        # Saved in other slices: put together, cut anew.
        whole = self(name, kind)
        if cut is not None:
            dimension, index, count = cut
            size = whole.shape[dimension] // count
            whole = whole.narrow(dimension, index * size, size)
        return whole.reshape(-1)[start : start + length].clone()

    def _stored(self, name: str) -> list[_Stored]:
        if name not in self._of:
            raise self._incomplete(name)
        return self._of[name]

    def _run(self, name: str, kind: str, start: int, length: int, cut: Cut | None) -> torch.Tensor:
        """Reads a run of the slices as they were saved."""
        values = torch.empty(length)
        found = 0
        for stored in self._stored(name):
            fragment = stored.fragment
            first = max(start, fragment.start)
            end = min(start + length, fragment.start + fragment.length)
            if fragment.cut != cut or first >= end:
                continue
            with safe_open(stored.path, "pt") as file:
                tensor = file.get_slice(tensor_key(stored.number, kind))
                piece = tensor[first - fragment.start : end - fragment.start]
                values[first - start : end - start] = piece
            found += end - first
        if found != length:
            raise self._incomplete(name)
        return values

    def _incomplete(self, name: str) -> InputError:
        return InputError(
            f"the checkpoint does not hold all of '{name}'",
            where=str(self._folder),
            remedy="it is of another model, or a file is missing: delete it",
        )
