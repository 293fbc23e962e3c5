"""Checks that models can be merged, before any weight is read.

Merging adds tensors number by number: every model must have the same tensors, the same meaning of
each (heads, rotary positions, norms) and the same token for each embedding row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.model_folder import require_model, tensor_shapes

_ARCHITECTURE_KEYS = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
    "vocab_size",
)
"""What must agree in the configs; most of it does not show in the tensors' shapes."""


def check_models(folders: Mapping[str, Path], where: str) -> None:
    """Checks that all models fit the first.

    Args:
        folders: model folders by the name the recipe gives them, the base first.
        where: stage name, for errors.

    Raises:
        InputError: a model is missing or differs; names both models and the tensor or setting.
    """
    for name, folder in folders.items():
        require_model(folder, f"{where}: {name}")
    (base_name, base_folder), *others = folders.items()
    base = _Model(base_name, base_folder, where)
    for name, folder in others:
        _check_pair(base, _Model(name, folder, where), where)


class _Model:
    """What the checks compare; no weights."""

    def __init__(self, name: str, folder: Path, where: str) -> None:
        self.name = name
        self.config = _config(folder)
        self.shapes = tensor_shapes(folder, where)
        self.vocabulary = _vocabulary(folder)


def _check_pair(base: _Model, other: _Model, where: str) -> None:
    for key in _ARCHITECTURE_KEYS:
        ours, theirs = base.config.get(key), other.config.get(key)
        if ours != theirs:
            raise _misfit(f"{key} is {theirs} in {other.name} but {ours} in {base.name}", where)
    for tensor in sorted(base.shapes.keys() | other.shapes.keys()):
        for model in (base, other):
            if tensor not in model.shapes:
                raise _misfit(f"{model.name} has no tensor {tensor}", where)
        ours, theirs = base.shapes[tensor], other.shapes[tensor]
        if ours != theirs:
            raise _misfit(
                f"tensor {tensor} is {theirs} in {other.name} but {ours} in {base.name}", where
            )
    if None not in (base.vocabulary, other.vocabulary) and base.vocabulary != other.vocabulary:
        raise _misfit(
            f"the tokenizers of {other.name} and {base.name} number tokens differently", where
        )


def _misfit(what: str, where: str) -> InputError:
    return InputError(
        what,
        where=where,
        remedy="merge models that were trained from one base and share its tokenizer",
    )


def _config(folder: Path) -> dict[str, Any]:
    # Through transformers, which reads the spellings of all its versions (rope_theta, ...).
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return dict(json.loads(config.to_json_string(use_diff=False)))


def _vocabulary(folder: Path) -> Any:
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    return json.loads(path.read_text("utf-8")).get("model", {}).get("vocab")
