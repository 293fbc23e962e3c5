"""Checks that models can be merged, before any weight is read.

Merging adds tensors number by number: every model must have the same tensors, the same meaning of
each (heads, rotary positions, norms) and the same token for each embedding row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError, first_line
from core.model_folder import CONFIG_NAME, require_model, weight_files
from merge.budget import Budget, check_budget, estimate
from merge.vocabulary import difference, read_vocabulary
from merge.weights import ModelWeights, read_weights

_ARCHITECTURE_KEYS = (
    "model_type",
    "architectures",
    "hidden_size",
    "intermediate_size",
    "hidden_act",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "attention_bias",
    "mlp_bias",
    "rms_norm_eps",
    "rope_parameters",
    "sliding_window",
    "tie_word_embeddings",
    "vocab_size",
)
"""What must agree in the configs; most of it does not show in the tensors' shapes."""

_ADAPTER_CONFIG = "adapter_config.json"
_PICKLES = ("pytorch_model*.bin", "*.pth", "consolidated*.pt")


def preflight(folders: Mapping[str, Path], out_dtype: str, out: Path, where: str) -> Budget:
    """Checks models, disk and memory; returns what the merge takes.

    Args:
        folders: model folders by the name the recipe gives them, the base first.
        out_dtype: ``float32`` or ``bfloat16``.
        out: where the merged model is written.
        where: stage name, for errors.

    Raises:
        InputError: the models do not fit together, or there is too little room.
    """
    # Imported here: mergekit loads PyTorch.
    from merge.mergekit_run import check_tensors

    weights = check_models(folders, where)
    check_tensors(weights, where)
    budget = estimate(weights, len(folders), out_dtype, out)
    check_budget(budget, where)
    return budget


def check_models(folders: Mapping[str, Path], where: str) -> ModelWeights:
    """Checks that all models fit the first; returns where that one's weights are.

    Args:
        folders: model folders by the name the recipe gives them, the base first.
        where: stage name, for errors.

    Raises:
        InputError: a model is missing or differs; names both models and the tensor or setting.
    """
    for name, folder in folders.items():
        check_folder(folder, f"{where}: {name}")
    (base_name, base_folder), *others = folders.items()
    base = _Model(base_name, base_folder, where)
    for name, folder in others:
        _check_pair(base, _Model(name, folder, where), where)
    return base.weights


def check_folder(folder: Path, where: str) -> None:
    """Checks that a folder holds a whole model that can be merged.

    Raises:
        InputError: it is missing, an adapter, pickled, or incomplete.
    """
    weights = bool(weight_files(folder)) if folder.is_dir() else False
    if (folder / _ADAPTER_CONFIG).is_file() and not (folder / CONFIG_NAME).is_file():
        raise InputError(
            f"{folder} is a LoRA adapter, not a model",
            where=where,
            remedy="merge it into its base model first, with peft: "
            "AutoPeftModelForCausalLM.from_pretrained(FOLDER).merge_and_unload()"
            ".save_pretrained(NEW), and save the tokenizer there, too",
        )
    pickled = [p.name for pattern in _PICKLES for p in sorted(folder.glob(pattern))]
    if pickled and not any(p.name.startswith("model") for p in weight_files(folder)):
        beside = "; its other weights cannot be loaded either" if weights else ""
        raise InputError(
            f"the weights in {folder} are pickled ({pickled[0]}), and loading a pickle runs code "
            f"from whoever made it{beside}",
            where=where,
            remedy="take the safetensors version; or, if you trust the source, convert it "
            "elsewhere: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW)",
        )
    require_model(folder, where)
    read_weights(folder, where)


class _Model:
    """What the checks compare; no weights."""

    def __init__(self, name: str, folder: Path, where: str) -> None:
        self.name = name
        self.config = _config(folder, f"{where}: {name}")
        self.weights = read_weights(folder, f"{where}: {name}")
        self.vocabulary = read_vocabulary(folder)


def _check_pair(base: _Model, other: _Model, where: str) -> None:
    for key in _ARCHITECTURE_KEYS:
        ours, theirs = base.config.get(key), other.config.get(key)
        if ours != theirs:
            raise _misfit(f"{key} is {theirs} in {other.name} but {ours} in {base.name}", where)
    ours, theirs = base.weights.shapes, other.weights.shapes
    for tensor in sorted(ours.keys() | theirs.keys()):
        for model in (base, other):
            if tensor not in model.weights.shapes:
                raise _misfit(f"{model.name} has no tensor {tensor}", where)
        if ours[tensor] != theirs[tensor]:
            raise _misfit(
                f"tensor {tensor} is {theirs[tensor]} in {other.name} but {ours[tensor]} in "
                f"{base.name}",
                where,
            )
    differ = difference(base.vocabulary, other.vocabulary, base.name, other.name)
    if differ:
        raise _misfit(f"the tokenizers of {other.name} and {base.name} {differ}", where)


def _misfit(what: str, where: str) -> InputError:
    return InputError(
        what,
        where=where,
        remedy="merge models that were trained from one base and share its tokenizer",
    )


def _config(folder: Path, where: str) -> dict[str, Any]:
    # Through transformers, which reads the spellings of all its versions (rope_theta, ...).
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return dict(json.loads(config.to_json_string(use_diff=False)))
    except Exception as error:  # of a value that is none, transformers raises whatever it likes
        raise InputError(
            f"{CONFIG_NAME} in {folder} is of no known architecture: {first_line(error)}",
            where=where,
            remedy="merge models that transformers knows without code of their own; if it should "
            "be one, copy or download its config.json again",
        ) from error
