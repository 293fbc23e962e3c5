"""One merge through mergekit, with everything that mergekit leaves to defaults spelled out.

DARE-TIES, with task vectors δᵢ = θᵢ - base: each δᵢ is pruned at random to its density and
rescaled, then θ = base + Σ wᵢδᵢ·[sign(wᵢδᵢ) = sign(Σ wδ)]. At density 1.0 (AstroMLab 3,
section IV) nothing is pruned, and it still is no plain average: where models pull in opposite
directions, only the stronger side counts, with its weight as given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from core.atomic import write_json, write_text
from core.model_folder import CONFIG_NAME, copy_tokenizer
from core.recipe.merge import Merge

_PARAMETERS: dict[str, dict[str, bool]] = {
    # normalize would divide by the weights that agree: the papers' weights already sum to 1.
    # rescale brings a pruned task vector back to its L1 norm, tensor by tensor.
    "dare_ties": {"normalize": False, "rescale": True},
    # The disjoint mean of the TIES paper divides by the weights that agree.
    "ties": {"normalize": True, "rescale": False},
    "linear": {"normalize": True},
}

_THREADS = 1
"""The rescaling sums whole tensors, and a sum's last digits depend on the thread count."""

CONFIG_YAML = "mergekit_config.yml"


def merge_document(section: Merge, names: Mapping[str, str]) -> dict[str, Any]:
    """Returns mergekit's configuration as plain values.

    Args:
        section: the recipe section.
        names: what to write for each model that the section names.
    """
    linear = section.method == "linear"
    models = []
    for entry in section.models:
        parameters = {"weight": entry.weight}
        if not linear:
            parameters["density"] = entry.density
        models.append({"model": names[entry.model], "parameters": parameters})
    document: dict[str, Any] = {
        "merge_method": section.method,
        "models": models,
        "parameters": _PARAMETERS[section.method],
        "dtype": "float32",
        "out_dtype": section.out_dtype,
    }
    return document if linear else {"base_model": names[section.base], **document}


def run_mergekit(section: Merge, folders: Mapping[str, Path], seed: int, out: Path) -> None:
    """Merges into ``out``: weights, config, and the tokenizer of the last model.

    The last model is the one users talk to (the instruct model of the papers): its tokenizer,
    chat template, generation config and end-of-sequence tokens are the merged model's.

    Args:
        section: the recipe section.
        folders: model folders, absolute, for each model that the section names.
        seed: of the random pruning.
        out: model folder, made here.
    """
    from mergekit.common import ModelPath, ModelReference
    from mergekit.config import InputModelDefinition, MergeConfiguration
    from mergekit.io.tasks import LoaderCache
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    def reference(name: str) -> ModelReference:
        # Not parsed from a string: mergekit reads '+' and '@' in one as adapter and revision.
        return ModelReference(model=ModelPath(path=str(folders[name])))

    document = merge_document(section, {name: name for name in folders})
    document["models"] = [
        InputModelDefinition(model=reference(m["model"]), parameters=m["parameters"])
        for m in document["models"]
    ]
    if "base_model" in document:
        document["base_model"] = reference(section.base)
    options = MergeOptions(
        random_seed=seed,
        # The card would ask the hub about the models; the tokenizer is ours to choose.
        write_model_card=False,
        copy_tokenizer=False,
        safe_serialization=True,
        trust_remote_code=False,
        quiet=True,
    )
    try:
        with _fixed_threads():
            run_merge(MergeConfiguration(**document), str(out), options)
    finally:
        # A process-wide cache of open files, by path.
        LoaderCache().flush_all()
    voice = folders[section.models[-1].model]
    _write_config(voice, section.out_dtype, out)
    copy_tokenizer(voice, out)
    names = {name: Path(name).name for name in folders}
    write_text(out / CONFIG_YAML, yaml.safe_dump(merge_document(section, names), sort_keys=False))


def _write_config(source: Path, dtype: str, out: Path) -> None:
    config = json.loads((source / CONFIG_NAME).read_text("utf-8"))
    for key in ("torch_dtype", "_name_or_path"):
        config.pop(key, None)
    write_json(out / CONFIG_NAME, {**config, "dtype": dtype})


@contextmanager
def _fixed_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
