"""A model on disk: a folder with ``config.json``, safetensors weights and a tokenizer.

Nothing here loads a model: shapes come from the safetensors headers, so a 70B model is checked in
milliseconds before anything expensive starts. Pickled weights are refused.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

from core.errors import InputError

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"
TOKENIZER_NAMES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")
_MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format: a longer header is a corrupt file."""
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
_BROKEN = (
    *(OSError, ValueError, RecursionError, struct.error),
    *(AttributeError, LookupError, TypeError),
)


def weight_files(folder: Path) -> list[Path]:
    """Returns the safetensors files of a model folder, sorted."""
    return sorted(folder.glob("*.safetensors"))


def model_files(folder: Path) -> list[Path]:
    """Returns the files that make the model: config, weights with their index, tokenizer."""
    names = {CONFIG_NAME, GENERATION_CONFIG_NAME, "model.safetensors.index.json", *TOKENIZER_NAMES}
    return sorted(p for p in folder.iterdir() if p.name in names or p.name.endswith(".safetensors"))


def require_model(folder: Path, where: str) -> None:
    """Checks that a folder holds a model that can be loaded without running foreign code.

    Args:
        folder: the model folder.
        where: recipe key or stage, for the error.

    Raises:
        InputError: the folder, its config, weights or tokenizer is missing or unreadable.
    """
    if not folder.is_dir():
        raise InputError(
            f"model folder {folder} does not exist",
            where=where,
            remedy="check the path, or run the stage that makes the model first",
        )
    config = read_config(folder, where)
    weights = weight_files(folder)
    if not weights:
        raise InputError(
            f"no safetensors weights in {folder}",
            where=where,
            remedy="convert the model to safetensors; pickled weights are not read",
        )
    names = [name for path in weights for name in _header(path, where)]
    _check_layers(config.get("num_hidden_layers"), names, folder, where)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InputError(
            f"no tokenizer in {folder}",
            where=where,
            remedy=f"put {' or '.join(_TOKENIZERS)} into the folder",
        )


def _check_layers(counted: object, names: list[str], folder: Path, where: str) -> None:
    # transformers draws the layers that the weights lack at random, and says so in a log alone.
    held = {int(found[1]) for name in names if (found := _LAYER.match(name))}
    if not held or not isinstance(counted, int) or len(held) >= counted:
        return
    raise InputError(
        f"{CONFIG_NAME} in {folder} counts {counted} layers, and the weights have {len(held)}",
        where=where,
        remedy="config and weights are not of one model: copy or download it again",
    )


def read_config(folder: Path, where: str) -> dict[str, object]:
    """Returns the contents of ``config.json``.

    Raises:
        InputError: it is missing or not a JSON object.
    """
    try:
        config = json.loads((folder / CONFIG_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"no readable {CONFIG_NAME} in {folder}",
            where=where,
            remedy="point at the folder of a Hugging Face model",
        ) from error
    if not isinstance(config, dict):
        raise InputError(
            f"{CONFIG_NAME} in {folder} is not a JSON object",
            where=where,
            remedy="point at the folder of a Hugging Face model",
        )
    return config


def tensor_shapes(folder: Path, where: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor, from the headers of the safetensors files.

    Raises:
        InputError: a file is truncated or not safetensors.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        for name, entry in _header(path, where).items():
            shapes[name] = tuple(entry["shape"])
    return shapes


def _header(path: Path, where: str) -> dict[str, dict[str, list[int]]]:
    try:
        with path.open("rb") as f:
            (size,) = struct.unpack("<Q", f.read(8))
            if size > _MAX_HEADER_BYTES:
                raise ValueError("header too long")
            header = json.loads(f.read(size))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        for entry in header.values():
            entry["shape"] = [int(number) for number in entry["shape"]]
        if path.stat().st_size < 8 + size + end:
            raise ValueError("file too short")
    except _BROKEN as error:
        raise InputError(
            f"cannot read the weights in {path}",
            where=where,
            remedy="the file is truncated or not safetensors: copy or download it again",
        ) from error
    return dict(header)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies tokenizer, chat template and generation config, byte for byte."""
    for name in (*TOKENIZER_NAMES, GENERATION_CONFIG_NAME):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
