"""Weights merged by mergekit, with everything that mergekit leaves to defaults spelled out.

Task vectors are δᵢ = θᵢ - base. All arithmetic is in float32.

``dare_ties``
    Each δᵢ is pruned at random to its density and rescaled, then
    θ = base + Σ wᵢδᵢ·[sign(wᵢδᵢ) = sign(Σ wδ)]. At density 1.0 (AstroMLab 3, section IV) nothing
    is pruned, and it still is no plain average: where models pull in opposite directions, only the
    stronger side counts, with its weight as given. Where both are equally strong, it is the one
    that raises.
``ties``
    Each δᵢ keeps its largest values, a share of ``density``; then the same sum, divided by the
    weights that agree (Yadav et al. 2023, algorithm 1, with weights).
``linear``
    θ = Σ wᵢθᵢ / Σ wᵢ.
``slerp``
    θ = (sin((1-t)Ω)·θ₁ + sin(tΩ)·θ₂) / sin Ω, with Ω the angle between the two as vectors, tensor
    by tensor; a straight line where they are all but parallel (|cos Ω| > 0.9995).

Pruning and rescaling: mergekit since 0.1.0 (February 2025) multiplies what is left by
‖δ‖₁ / ‖pruned δ‖₁; Yu et al. 2024, and mergekit before, by 1/density. The two differ by
about 1/√(numbers in the tensor). ``rescale: density`` gives the paper's: mergekit is told not to
rescale, and the weight is divided by the density instead, which is the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from core.atomic import write_text
from core.errors import InputError, first_line
from core.recipe.merge import TASK_METHODS, Merge, MergeInput
from merge.budget import OUT_SHARD_BYTES
from merge.weights import ModelWeights

_PARAMETERS: dict[str, dict[str, Any]] = {
    # normalize would divide by the weights that agree: the papers' weights already sum to 1.
    # rescale brings a pruned task vector back to its L1 norm, tensor by tensor.
    "dare_ties": {"normalize": False, "rescale": True},
    # The disjoint mean of the TIES paper divides by the weights that agree.
    "ties": {"normalize": True, "rescale": False},
    "linear": {"normalize": True},
    "slerp": {},
}

_THREADS = 1

CONFIG_YAML = "mergekit_config.yml"


def merge_document(section: Merge, names: Mapping[str, str]) -> dict[str, Any]:
    """Returns mergekit's configuration as plain values.

    Args:
        section: the recipe section.
        names: what to write for each model that the section names.
    """
    models = []
    for entry in section.models:
        model: dict[str, Any] = {"model": names[entry.model]}
        if section.method != "slerp":
            model["parameters"] = _parameters(section, entry)
        models.append(model)
    parameters = dict(_PARAMETERS[section.method])
    if section.rescale == "density":
        parameters["rescale"] = False
    document: dict[str, Any] = {"merge_method": section.method}
    if section.method in TASK_METHODS:
        assert section.base is not None  # the recipe's own check
        document["base_model"] = names[section.base]
    elif section.method == "slerp":
        document["base_model"] = names[section.models[0].model]
        parameters["t"] = section.t
    return {
        **document,
        "models": models,
        "parameters": parameters,
        "dtype": "float32",
        "out_dtype": section.out_dtype,
    }


def _parameters(section: Merge, entry: MergeInput) -> dict[str, float]:
    assert entry.weight is not None  # the recipe's own check
    if section.method not in TASK_METHODS:
        return {"weight": entry.weight}
    scale = entry.density if section.rescale == "density" else 1.0
    return {"weight": entry.weight / scale, "density": entry.density}


def run_mergekit(section: Merge, folders: Mapping[str, Path], seed: int, out: Path) -> None:
    """Writes merged weights, with mergekit's configuration beside them, into ``out``.

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
        InputModelDefinition(model=reference(m["model"]), parameters=m.get("parameters"))
        for m in document["models"]
    ]
    if "base_model" in document:
        document["base_model"] = reference(document["base_model"])
    options = MergeOptions(
        random_seed=seed,
        # The card would ask the hub about the models; the tokenizer is ours to choose.
        write_model_card=False,
        copy_tokenizer=False,
        safe_serialization=True,
        out_shard_size=OUT_SHARD_BYTES,
        trust_remote_code=False,
        quiet=True,
    )
    try:
        with fixed_threads():
            run_merge(MergeConfiguration(**document), str(out), options)
    finally:
        # A process-wide cache of open files, by path.
        LoaderCache().flush_all()
    names = {name: Path(name).name for name in folders}
    write_text(out / CONFIG_YAML, yaml.safe_dump(merge_document(section, names), sort_keys=False))


def check_tensors(weights: ModelWeights, where: str) -> None:
    """Checks that mergekit knows the tensors of a model's architecture.

    It goes by lists of its own, and what they lack it leaves out without a word: the biases of a
    Llama with ``attention_bias``, for one.

    Raises:
        InputError: a tensor would be lost, or one that it asks for is not there.
    """
    from mergekit.architecture import arch_info_for_config
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(weights.folder, local_files_only=True)
    try:
        known = arch_info_for_config(config)
        listed = [] if known is None else known.all_weights(config)
    except Exception as error:  # of a config that does not fit, mergekit raises whatever it likes
        raise _unknown(
            f"mergekit cannot read the config: {first_line(error)}", weights, where
        ) from error
    if known is None:  # then it goes by the files themselves
        return
    names: set[str] = set()
    for weight in listed:
        spellings = {weight.name, *(weight.aliases or ()), *(weight.tied_names or ())}
        names |= spellings
        if not weight.optional and not spellings & weights.shapes.keys():
            raise _unknown(f"there is no tensor {weight.name}", weights, where)
    # Old files hold the rotary frequencies, which follow from the config.
    lost = sorted(n for n in weights.shapes.keys() - names if not n.endswith("rotary_emb.inv_freq"))
    if lost:
        what = f"mergekit does not know the tensor {lost[0]} and would leave it out"
        raise _unknown(what, weights, where)


def _unknown(what: str, weights: ModelWeights, where: str) -> InputError:
    return InputError(
        f"{what}: {weights.folder}",
        where=where,
        remedy="merge models whose config.json and weights fit, of a kind that mergekit knows",
    )


@contextmanager
def fixed_threads() -> Iterator[None]:
    """Computes with one thread: a sum's last digits depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
