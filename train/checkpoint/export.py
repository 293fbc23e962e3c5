"""A checkpoint as a Hugging Face model: to score it, to publish it, or to start another run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from core.atomic import replace_folder
from core.errors import InputError
from core.model_folder import copy_tokenizer
from train.checkpoint.format import Marker
from train.checkpoint.reader import CheckpointReader
from train.weights import write_model


def export_model(
    checkpoint: Path,
    model: Path,
    out: Path,
    dtype: Literal["float32", "bfloat16"] = "bfloat16",
) -> None:
    """Writes the weights of a checkpoint as safetensors, with config and tokenizer.

    Args:
        checkpoint: folder of one step.
        model: folder of the model that the run started from: config and tokenizer are its own.
        out: folder that is made; appears whole or not at all.
        dtype: of the weights; a checkpoint holds them in float32.

    Raises:
        InputError: the checkpoint is not complete.
    """
    from transformers import AutoConfig

    if Marker.load(checkpoint) is None:
        raise InputError(
            "this is not a complete checkpoint",
            where=str(checkpoint),
            remedy="name a folder step-... that holds checkpoint.json",
        )
    reader = CheckpointReader(checkpoint)
    config = AutoConfig.from_pretrained(model, local_files_only=True)
    config.dtype = torch_dtype = getattr(torch, dtype)
    sizes = {name: math.prod(shape) * torch_dtype.itemsize for name, shape in reader.shapes.items()}

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for name in sizes:
            yield name, reader(name, "weight").to(torch_dtype)

    made = out.with_name(f"{out.name}.tmp-export")
    write_model(made, config, sizes, tensors())
    copy_tokenizer(model, made)
    replace_folder(made, out)
