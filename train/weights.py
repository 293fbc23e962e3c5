"""Hugging Face weights a tensor at a time: read into an engine, written from one.

No process ever holds more of a model than it trains, plus one tensor.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from core.errors import InputError
from core.model_folder import weight_files

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
"""Of one weight file: what the Hub recommends, and what ``save_pretrained`` once wrote."""


class ModelWeights:
    """The tensors of a model folder by name."""

    def __init__(self, folder: Path) -> None:
        """Reads the names from the headers of the safetensors files."""
        self._folder = folder
        self._file_of: dict[str, Path] = {}
        for path in weight_files(folder):
            with safe_open(path, "pt") as file:
                self._file_of.update(dict.fromkeys(file.keys(), path))

    def read(self, name: str, into: torch.Tensor) -> None:
        """Reads one tensor into memory that is there, in its dtype.

        The file is closed again: the pages of a mapped file count as memory of the process.

        Raises:
            InputError: the folder has no such tensor, or one of another shape.
        """
        if name not in self._file_of:
            raise self._misfit(f"the weights lack '{name}'")
        with safe_open(self._file_of[name], "pt") as file:
            tensor = file.get_tensor(name)
            if tensor.shape != into.shape:
                raise self._misfit(
                    f"'{name}' has the shape {tuple(tensor.shape)}, config.json says "
                    f"{tuple(into.shape)}"
                )
            into.copy_(tensor)

    def _misfit(self, what: str) -> InputError:
        return InputError(
            what,
            where=str(self._folder),
            remedy="config.json and weights are not of one model: copy or download it again",
        )


def empty_model(folder: Path, dtype: torch.dtype) -> Any:
    """Returns the Hugging Face model of a folder with no values yet.

    Its memory is reserved but not touched, so it costs nothing until :func:`fill` writes it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    auto: Any = AutoModelForCausalLM
    with no_init_weights():
        model = auto.from_config(config, dtype=dtype)
    model.tie_weights()
    return model


def fill(model: Any, read: Callable[[str, torch.Tensor], None]) -> None:
    """Gives the parameters of an empty model their values, in the memory reserved for them.

    Args:
        model: of :func:`empty_model`.
        read: reads the tensor of a name into memory.
    """
    # Tied parameters come once, under the name that they are saved by.
    for name, parameter in model.named_parameters():
        read(name, parameter.data)


def fill_by_module(
    model: Any,
    dtype: torch.dtype,
    read: Callable[[str, torch.Tensor], None],
    done: Callable[[torch.nn.Module], None],
) -> None:
    """Gives the parameters values a module at a time, in memory that is then used again.

    The largest module comes first, where little else is in memory, and the buffer shrinks with
    them. It is mapped by itself: from the allocator's heap it would leave a hole when it is freed.

    Args:
        model: of :func:`empty_model`.
        dtype: of the parameters.
        read: reads the tensor of a name into memory.
        done: called with each module that has parameters of its own; must take their values away.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    size_of = {m: sum(p.numel() for p in m.parameters(recurse=False)) for m in model.modules()}
    buffer = torch.empty(0, dtype=dtype)
    item_bytes = buffer.element_size()
    for module in sorted((m for m in size_of if size_of[m]), key=lambda m: -size_of[m]):
        size = size_of[module]
        if not size <= len(buffer) <= 2 * size:
            del buffer
            buffer = torch.frombuffer(mmap.mmap(-1, size * item_bytes), dtype=dtype)
        start = 0
        for parameter in module.parameters(recurse=False):
            name = names.pop(id(parameter), None)
            if name is None:
                continue
            end = start + parameter.numel()
            parameter.data = buffer[start:end].view(parameter.shape)
            read(name, parameter.data)
            start = end
        done(module)


def write_model(
    folder: Path,
    config: Any,
    sizes: dict[str, int],
    tensors: Iterable[tuple[str, torch.Tensor]],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes config and weights, one file of weights in memory at a time.

    Args:
        folder: made where it is absent.
        config: a Hugging Face configuration.
        sizes: bytes of every tensor, in the order of ``tensors``.
        tensors: names and values; tied ones once.
        shard_bytes: a larger model is written as several files with an index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    shard_of = _shards(sizes, shard_bytes)
    count = max(shard_of.values()) + 1
    names = [
        WEIGHTS_NAME if count == 1 else f"model-{i + 1:05d}-of-{count:05d}.safetensors"
        for i in range(count)
    ]
    held: dict[str, torch.Tensor] = {}
    current = 0
    for name, tensor in tensors:
        if shard_of[name] != current:
            save_file(held, folder / names[current], metadata={"format": "pt"})
            held, current = {}, shard_of[name]
        held[name] = tensor
    save_file(held, folder / names[current], metadata={"format": "pt"})
    if count > 1:
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {name: names[shard] for name, shard in shard_of.items()},
        }
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (folder / INDEX_NAME).write_text(text, encoding="utf-8")


def _shards(sizes: dict[str, int], shard_bytes: int) -> dict[str, int]:
    """Returns the number of the file that each tensor goes into."""
    shard_of: dict[str, int] = {}
    shard, filled = 0, 0
    for name, size in sizes.items():
        if filled and filled + size > shard_bytes:
            shard, filled = shard + 1, 0
        shard_of[name] = shard
        filled += size
    return shard_of
