"""mergekit's merges against the published formulas, written down once more in NumPy.

Three models, and every kind of tensor that a Llama has: embeddings, attention with fewer key-value
heads, MLP, norms (one row), an untied head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.recipe.merge import Merge
from core.tiny import save_model
from merge.mergekit_run import run_mergekit

Array = npt.NDArray[np.float64]
NAMES = ("base", "first", "second", "third")
WEIGHTS = (0.5, 0.3, 0.2)


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, merge_tokenizer: PreTrainedTokenizerFast
) -> dict[str, Path]:
    """Models whose task vectors differ in size, and are zero in places."""
    root = tmp_path_factory.mktemp("models")
    config = LlamaConfig(
        vocab_size=len(merge_tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    base = LlamaForCausalLM(config).float()
    start = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    found = {}
    for number, name in enumerate(NAMES):
        generator = torch.Generator().manual_seed(number)
        changed = {}
        for key, tensor in start.items():
            noise = torch.randn(tensor.shape, generator=generator) * 0.01 * number
            noise[torch.rand(tensor.shape, generator=generator) < 0.1] = 0.0
            changed[key] = tensor + noise
        base.load_state_dict(changed)
        found[name] = root / name
        save_model(base, merge_tokenizer, found[name])
    return found


def read(folder: Path) -> dict[str, Array]:
    return {
        name: tensor.numpy().astype(np.float64)
        for path in folder.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


def merge(**values: Any) -> Merge:
    models = values.pop("models", None)
    if models is None:
        models = [
            {"model": name, "weight": weight}
            for name, weight in zip(NAMES[1:], WEIGHTS, strict=True)
        ]
    return Merge.model_validate({"models": models, "out_dtype": "float32", **values})


def elected(parts: Array) -> npt.NDArray[np.bool_]:
    """Which of the weighted task vectors ``(models, ...)`` are on the stronger side."""
    side = np.where(parts.sum(axis=0) >= 0, 1.0, -1.0)
    return np.asarray(np.sign(parts) == side)


def dare_ties(base: Array, models: list[Array], weights: tuple[float, ...]) -> Array:
    parts = np.stack([w * (m - base) for w, m in zip(weights, models, strict=True)])
    return np.asarray(base + (parts * elected(parts)).sum(axis=0))


def ties(base: Array, models: list[Array], weights: tuple[float, ...], density: float) -> Array:
    deltas = []
    for model in models:
        delta = model - base
        kept = max(1, int(density * delta.size))
        order = np.argsort(-np.abs(delta).ravel(), kind="stable")
        mask = np.zeros(delta.size)
        mask[order[:kept]] = 1
        deltas.append(delta * mask.reshape(delta.shape))
    parts = np.stack([w * d for w, d in zip(weights, deltas, strict=True)])
    mask = elected(parts)
    shares = np.asarray(weights).reshape(-1, *[1] * base.ndim) * mask
    divisor = shares.sum(axis=0)
    return np.asarray(base + (parts * mask).sum(axis=0) / np.where(divisor == 0, 1, divisor))


def slerp(first: Array, second: Array, t: float) -> Array:
    a, b = first.ravel(), second.ravel()
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    if abs(cosine) > 0.9995:
        return (1 - t) * first + t * second
    angle = np.arccos(cosine)
    return np.asarray(
        (np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / np.sin(angle)
    )


def run(section: Merge, folders: dict[str, Path], out: Path, seed: int = 1) -> dict[str, Array]:
    run_mergekit(section, {name: folders[name] for name in section.names}, seed, out)
    return read(out)


def check(found: dict[str, Array], expected: dict[str, Array], within: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    kinds = ("embed_tokens", "k_proj", "up_proj", "layernorm", "model.norm", "lm_head")
    assert all(any(kind in name for name in found) for kind in kinds)
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() < within, name


def test_dare_ties_at_density_one(folders: dict[str, Path], tmp_path: Path) -> None:
    found = run(merge(method="dare_ties", base="base"), folders, tmp_path)
    tensors = {name: read(folder) for name, folder in folders.items()}
    plain = 0.0
    expected = {}
    for name, base in tensors["base"].items():
        models = [tensors[m][name] for m in NAMES[1:]]
        expected[name] = dare_ties(base, models, WEIGHTS)
        average = base + sum(w * (m - base) for w, m in zip(WEIGHTS, models, strict=True))
        plain = max(plain, float(np.abs(found[name] - average).max()))
    check(found, expected)
    assert plain > 1e-3, "signs never disagree: the test shows nothing"


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_ties(folders: dict[str, Path], tmp_path: Path, density: float) -> None:
    """Magnitude pruning has no chance in it: exact at any density."""
    models = [
        {"model": name, "weight": weight, "density": density}
        for name, weight in zip(NAMES[1:], WEIGHTS, strict=True)
    ]
    found = run(merge(method="ties", base="base", models=models), folders, tmp_path)
    tensors = {name: read(folder) for name, folder in folders.items()}
    expected = {
        name: ties(base, [tensors[m][name] for m in NAMES[1:]], WEIGHTS, density)
        for name, base in tensors["base"].items()
    }
    check(found, expected)


def test_linear(folders: dict[str, Path], tmp_path: Path) -> None:
    """It divides by the sum of the weights, so twice the weights are the same merge."""
    models = [
        {"model": name, "weight": 2 * weight}
        for name, weight in zip(NAMES[1:], WEIGHTS, strict=True)
    ]
    found = run(merge(method="linear", models=models), folders, tmp_path)
    tensors = {name: read(folders[name]) for name in NAMES[1:]}
    expected = {
        name: np.asarray(sum(w * tensors[m][name] for w, m in zip(WEIGHTS, NAMES[1:], strict=True)))
        for name in tensors["first"]
    }
    check(found, expected)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp(folders: dict[str, Path], tmp_path: Path, t: float) -> None:
    models = [{"model": "first"}, {"model": "third"}]
    found = run(merge(method="slerp", models=models, t=t), folders, tmp_path)
    first, third = read(folders["first"]), read(folders["third"])
    check(found, {name: slerp(first[name], third[name], t) for name in first})
    if t == 0.3:
        straight = 0.7 * first["lm_head.weight"] + 0.3 * third["lm_head.weight"]
        assert np.abs(found["lm_head.weight"] - straight).max() > 1e-4, "the arc is a line"


@pytest.mark.parametrize("rescale", ["l1", "density"])
def test_pruning_gives_the_task_vector_in_expectation(rescale: str) -> None:
    """Over seeds, of one tensor: the mean's distance from δ against the spread of the mean.

    A pruned number is δ/ρ with chance ρ and else 0: mean δ, variance δ²(1-ρ)/ρ (Yu et al. 2024,
    section 3.2). The L1 rescaling's factor differs from 1/ρ by about 1/√n, and is biased by about
    1/n, which 2,000 numbers make smaller than what 2,000 seeds show.
    """
    from mergekit.merge_methods import get
    from mergekit.sparsify import RescaleNorm, SparsificationMethod, sparsify

    density, seeds = 0.5, 2000
    assert get("dare_ties").sparsification_method is SparsificationMethod.random
    delta = torch.randn(2000, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    norm = RescaleNorm.l1 if rescale == "l1" else None
    scale = 1.0 if rescale == "l1" else 1 / density
    draws = [
        sparsify(delta, density, SparsificationMethod.random, rescale_norm=norm).double() * scale
        for _ in range(seeds)
    ]
    mean = torch.stack(draws).mean(0)
    spread = delta.double().abs() * ((1 - density) / density / seeds) ** 0.5
    z = (mean - delta) / spread
    assert abs(float(z.mean())) < 5 / len(z) ** 0.5
    assert float(z.square().mean()) == pytest.approx(1.0, abs=0.2)


def test_whole_merges_in_expectation_over_seeds(folders: dict[str, Path], tmp_path: Path) -> None:
    """Of one model nothing is elected, so the mean over seeds goes to base + wδ."""
    seeds, density = 24, 0.5
    models = [{"model": "third", "weight": 0.8, "density": density}]
    section = merge(method="dare_ties", base="base", models=models, rescale="density")
    sums: dict[str, Array] = {}
    for seed in range(seeds):
        for name, values in run(section, folders, tmp_path / str(seed), seed).items():
            sums[name] = sums.get(name, 0.0) + values / seeds
    base, third = read(folders["base"]), read(folders["third"])
    scores = []
    for name, mean in sums.items():
        delta = 0.8 * (third[name] - base[name])
        spread = np.abs(delta) * ((1 - density) / density / seeds) ** 0.5
        changed = spread > 0
        assert np.abs((mean - base[name])[~changed]).max(initial=0.0) < 1e-6
        scores.append(((mean - base[name] - delta)[changed] / spread[changed]).ravel())
    z = np.concatenate(scores)
    assert abs(z.mean()) < 5 / np.sqrt(len(z))
    assert np.square(z).mean() == pytest.approx(1.0, abs=0.05)


def test_two_pruned_models_are_elected_after_pruning(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """At every number the result is one of the four that two masks can give."""
    density = {"first": 0.9, "third": 0.5}
    weight = {"first": 0.85, "third": 0.15}
    models = [{"model": m, "weight": weight[m], "density": density[m]} for m in density]
    section = merge(method="dare_ties", base="base", models=models, rescale="density")
    found = run(section, folders, tmp_path)
    base = read(folders["base"])
    tuned = {m: read(folders[m]) for m in density}
    taken: list[int] = []
    for name, start in base.items():
        scaled = [weight[m] / density[m] * (tuned[m][name] - start) for m in density]
        options = []
        for masks in ((0, 0), (0, 1), (1, 0), (1, 1)):
            parts = np.stack([mask * part for mask, part in zip(masks, scaled, strict=True)])
            options.append((parts * elected(parts)).sum(axis=0))
        distance = np.abs(np.stack(options) - (found[name] - start))
        assert distance.min(axis=0).max() < 1e-6, name
        taken += distance.argmin(axis=0).ravel().tolist()
    assert set(taken) == {0, 1, 2, 3}
