"""One worker's file: its fragments, copied in memory first and written later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from core.hashing import sha256_file
from train.checkpoint.format import SavedFile
from train.engine import StateFragment

_METADATA_KEY = "fragments"


@dataclass(frozen=True)
class SavedFragment:
    """A :class:`train.engine.StateFragment` without its values, as the file's header lists it."""

    name: str
    shape: tuple[int, ...]
    slice_dim: int | None
    slice_index: int
    slice_count: int
    start: int
    length: int

    @property
    def cut(self) -> tuple[int, int, int] | None:
        """(dimension, index, count) of its slice; None: it is of the whole parameter."""
        if self.slice_dim is None or self.slice_count == 1:
            return None
        return self.slice_dim, self.slice_index, self.slice_count


@dataclass
class Snapshot:
    """A worker's state at one step, in host memory."""

    fragments: list[SavedFragment]
    tensors: dict[str, torch.Tensor]

    @classmethod
    def take(cls, fragments: Iterable[StateFragment]) -> Snapshot:
        """Copies the fragments; the state may change from then on."""
        listed: list[SavedFragment] = []
        tensors: dict[str, torch.Tensor] = {}
        for fragment in fragments:
            for kind, values in fragment.values.items():
                copy = values.detach().to("cpu", torch.float32, copy=True)
                tensors[tensor_key(len(listed), kind)] = copy
            listed.append(
                SavedFragment(
                    name=fragment.name,
                    shape=tuple(fragment.shape),
                    slice_dim=fragment.slice_dim,
                    slice_index=fragment.slice_index,
                    slice_count=fragment.slice_count,
                    start=fragment.start,
                    length=len(next(iter(fragment.values.values()))),
                )
            )
        return cls(listed, tensors)

    def write(self, path: Path) -> SavedFile:
        """Writes and syncs a safetensors file; returns its size and hash."""
        listed = json.dumps([asdict(fragment) for fragment in self.fragments])
        save_file(self.tensors, path, metadata={_METADATA_KEY: listed})
        return entry(path)


def tensor_key(number: int, kind: str) -> str:
    """Returns the name of a tensor in a worker's file."""
    return f"{number:06d}.{kind}"


def entry(path: Path) -> SavedFile:
    """Syncs a file and returns its size and hash."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return SavedFile(path.name, path.stat().st_size, sha256_file(path))


def read_fragments(path: Path) -> list[SavedFragment]:
    """Returns what a worker's file holds, from its header."""
    with safe_open(path, "pt") as file:
        listed = json.loads(file.metadata()[_METADATA_KEY])
    return [SavedFragment(**{**item, "shape": tuple(item["shape"])}) for item in listed]
