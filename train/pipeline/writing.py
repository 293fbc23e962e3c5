r"""A model spread over workers, out to a Hugging Face folder.

::

    stage 0, copy 0:   slice 0  slice 1   one tensor at a time ──→ leader ──→ model-00001-of-00003
    stage 1, copy 0:   slice 0  slice 1   ───────────────────────→ leader ──→ model-00002-of-00003

The first worker of each stage, its leader, puts the slices together and writes files of its own,
so the stages write side by side and nobody holds more than one file. They must see one file system.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed

from core.atomic import atomic_file, write_json
from core.model_folder import CONFIG_NAME, GENERATION_CONFIG_NAME, read_config
from train.pipeline.tensor_parallel import Held, TensorGroup

FILE_BYTES = 5 * 10**9
"""Of one file: what a leader holds in memory while it writes."""

INDEX_NAME = "model.safetensors.index.json"


@dataclass(frozen=True)
class WeightFile:
    """One file of the folder: which stage writes it, and what is in it."""

    name: str
    stage: int
    tensors: tuple[str, ...]


def plan_files(
    stages: Sequence[Sequence[str]],
    shapes: dict[str, tuple[int, ...]],
    itemsize: int,
    file_bytes: int = FILE_BYTES,
) -> list[WeightFile]:
    """Returns the files of a model; every worker comes to the same plan.

    Args:
        stages: names of the tensors of each pipeline stage, in order.
        shapes: whole shape of each.
        itemsize: bytes per number.
        file_bytes: of a file at most; a larger tensor has a file of its own.
    """
    groups: list[tuple[int, list[str]]] = []
    for stage, names in enumerate(stages):
        size = file_bytes + 1
        for name in names:
            tensor_bytes = math.prod(shapes[name]) * itemsize
            if size + tensor_bytes > file_bytes:
                groups.append((stage, []))
                size = 0
            groups[-1][1].append(name)
            size += tensor_bytes
    if len(groups) == 1:
        return [WeightFile("model.safetensors", groups[0][0], tuple(groups[0][1]))]
    return [
        WeightFile(f"model-{i:05d}-of-{len(groups):05d}.safetensors", stage, tuple(names))
        for i, (stage, names) in enumerate(groups, start=1)
    ]


def write_weights(
    folder: Path,
    files: Sequence[WeightFile],
    stage: int,
    held: Sequence[Held],
    tensor_group: TensorGroup,
) -> None:
    """Writes the files of one stage. All workers of the tensor-parallel group call it together.

    Args:
        folder: exists.
        files: from :func:`plan_files`.
        stage: of these workers.
        held: their parameters.
        tensor_group: the workers.
    """
    from safetensors.torch import save_file

    by_name = {part.name: part for part in held}
    for file in files:
        if file.stage != stage:
            continue
        tensors = {
            name: tensor
            for name, tensor in _whole(file.tensors, by_name, tensor_group)
            if tensor_group.rank == 0
        }
        if tensor_group.rank == 0:
            with atomic_file(folder / file.name) as temporary:
                save_file(tensors, temporary, metadata={"format": "pt"})


def _whole(
    names: Sequence[str], by_name: dict[str, Held], tensor_group: TensorGroup
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields whole tensors on the leader, slices elsewhere, in main memory."""
    for name in names:
        part = by_name[name]
        mine = part.parameter.detach().contiguous()
        if part.slice_dim is None or tensor_group.size == 1:
            yield name, mine.cpu().clone()
            continue
        leader = tensor_group.rank == 0
        slices = [torch.empty_like(mine) for _ in range(tensor_group.size)] if leader else None
        distributed.gather(mine, slices, group=tensor_group.group, group_dst=0)
        yield name, (mine if slices is None else torch.cat(slices, dim=part.slice_dim).cpu())


def write_folder(
    source: Path,
    folder: Path,
    files: Sequence[WeightFile],
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
) -> None:
    """Writes what stands beside the weights: config, generation config, index of the files.

    Args:
        source: the model that training started from.
        folder: exists.
        files: from :func:`plan_files`.
        shapes: whole shape of each tensor.
        dtype: of the weights.
    """
    config = {**read_config(source, str(source)), "dtype": str(dtype).removeprefix("torch.")}
    config.pop("torch_dtype", None)  # the older name of the same
    write_json(folder / CONFIG_NAME, config)
    if (source / GENERATION_CONFIG_NAME).is_file():
        shutil.copyfile(source / GENERATION_CONFIG_NAME, folder / GENERATION_CONFIG_NAME)
    if len(files) > 1:
        total = sum(math.prod(shapes[name]) for file in files for name in file.tensors)
        index = {
            "metadata": {"total_parameters": total, "total_size": total * dtype.itemsize},
            "weight_map": {name: file.name for file in files for name in file.tensors},
        }
        write_json(folder / INDEX_NAME, index)
