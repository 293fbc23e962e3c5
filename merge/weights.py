"""A model's weights on disk: which file holds which tensor, and reading them piece by piece."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.model_folder import weight_files

if TYPE_CHECKING:
    import torch

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"

_PIECE_ELEMENTS = 2**22
"""Numbers of one tensor read at once: 16 MB in float32, whatever the model."""


@dataclass(frozen=True)
class ModelWeights:
    """Where a model's tensors are.

    Args:
        folder: of the model.
        files: tensor name to its file's name.
        shapes: tensor name to shape.
    """

    folder: Path
    files: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def largest(self) -> int:
        """Numbers in the largest tensor."""
        return max((math.prod(shape) for shape in self.shapes.values()), default=0)


def read_weights(folder: Path, where: str) -> ModelWeights:
    """Reads the index and the headers; no weight.

    Args:
        folder: a model folder that :func:`core.model_folder.require_model` has passed.
        where: stage or recipe key, for errors.

    Raises:
        InputError: a shard that the index names is missing or lacks a tensor, or there are
            several files without an index.
    """
    names = _weight_map(folder, where)
    listed = names.values() if names is not None else [SINGLE_NAME]
    shapes: dict[str, tuple[int, ...]] = {}
    files: dict[str, str] = {}
    for file in sorted(set(listed)):
        for tensor, shape in _shapes(folder / file, where).items():
            if names is None or names.get(tensor) == file:
                shapes[tensor], files[tensor] = shape, file
    for tensor, file in (names or {}).items():
        if tensor not in shapes:
            raise _broken(f"{file} lacks the tensor {tensor}, which the index says it has", folder)
    return ModelWeights(folder, files, shapes)


def _weight_map(folder: Path, where: str) -> dict[str, str] | None:
    """Returns tensor name to file name; None where the one file has no index."""
    path = folder / INDEX_NAME
    if not path.is_file():
        if (folder / SINGLE_NAME).is_file():
            return None
        found = ", ".join(p.name for p in weight_files(folder)[:3])
        raise InputError(
            f"{folder} has weights ({found}, ...) but neither {SINGLE_NAME} nor {INDEX_NAME}",
            where=where,
            remedy="copy or download the index, too",
        )
    try:
        names = json.loads(path.read_text("utf-8"))["weight_map"]
        if not all(isinstance(v, str) and Path(v).name == v for v in names.values()):
            raise ValueError("weight_map does not hold file names")
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _broken(f"{INDEX_NAME} cannot be read: {error}", folder) from error
    missing = sorted({v for v in names.values() if not (folder / v).is_file()})
    if missing:
        raise _broken(
            f"{len(missing)} of {len(set(names.values()))} weight files are missing: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}",
            folder,
        )
    return dict(names)


def _broken(what: str, folder: Path) -> InputError:
    return InputError(
        what, where=str(folder), remedy="the download is incomplete: copy or download it again"
    )


def _shapes(path: Path, where: str) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"cannot read the weights in {path}: {error}",
            where=where,
            remedy="the file is truncated or not safetensors: copy or download it again",
        ) from error


def pieces(models: Sequence[ModelWeights]) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """Yields the same part of a tensor of every model, tensor by tensor, in float32.

    Args:
        models: with the same tensors.

    Yields:
        Tensor name, and one tensor ``(rows, ...)`` per model; about :data:`_PIECE_ELEMENTS` numbers
        each, so memory does not grow with the model.
    """
    from safetensors import safe_open

    with ExitStack() as stack:
        opened: dict[Path, Any] = {}
        for name, shape in sorted(models[0].shapes.items()):
            slices = []
            for model in models:
                path = model.folder / model.files[name]
                if path not in opened:
                    opened[path] = stack.enter_context(safe_open(path, framework="pt"))
                slices.append(opened[path].get_slice(name))
            rows = shape[0] if shape else 1
            step = max(1, _PIECE_ELEMENTS // max(1, math.prod(shape[1:])))
            for start in range(0, rows, step):
                part = slice(start, start + step)
                yield name, [(each[part] if shape else each[...]).float() for each in slices]
