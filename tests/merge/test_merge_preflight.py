"""What cannot be merged is refused before a weight is read; one case per reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.errors import InputError
from core.recipe.merge import Merge
from core.stage import StageContext
from core.tiny import save_model, train_tokenizer
from merge.budget import Budget, check_budget, estimate
from merge.preflight import check_folder, check_models, preflight
from merge.stage import MergeStage
from merge.weights import INDEX_NAME, pieces, read_weights
from tests.merge.conftest import SHAPE, TEXT, USER


@pytest.fixture
def base(merge_ctx: StageContext) -> Path:
    return Path(merge_ctx.model_path("train.cpt"))


@pytest.fixture
def odd(merge_ctx: StageContext, tmp_path: Path) -> Path:
    """A copy of the user's model, to be damaged."""
    return shutil.copytree(merge_ctx.root / USER, tmp_path / "odd")


def refused(base: Path, odd: Path) -> InputError:
    with pytest.raises(InputError) as error:
        preflight({"base": base, "odd": odd}, "float32", odd.parent / "out", "merge.merged")
    assert error.value.remedy
    return error.value


def change_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, **changes}), "utf-8")


def test_models_that_fit(base: Path, merge_ctx: StageContext, tmp_path: Path) -> None:
    budget = preflight({"a": base, "b": merge_ctx.root / USER}, "bfloat16", tmp_path / "x", "w")
    tensors = load_file(base / "model.safetensors")
    assert budget.tensors == len(tensors)
    assert budget.parameters == sum(t.numel() for t in tensors.values())
    assert 2 * budget.parameters < budget.out_bytes < 2 * budget.parameters + 20_000_000


def test_a_tensor_of_another_shape(base: Path, odd: Path) -> None:
    tensors = load_file(odd / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name][:-1].contiguous()
    save_file(tensors, odd / "model.safetensors")
    assert refused(base, odd).what == f"tensor {name} is (63, 32) in odd but (64, 32) in base"


def test_a_missing_tensor(base: Path, odd: Path) -> None:
    tensors = load_file(odd / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, odd / "model.safetensors")
    assert refused(base, odd).what == "odd has no tensor model.norm.weight"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", 8),
        ("rms_norm_eps", 1e-3),
        ("vocab_size", 301),
        ("hidden_act", "gelu"),
        ("model_type", "mistral"),
    ],
)
def test_another_architecture(base: Path, odd: Path, key: str, value: float | str) -> None:
    changes = {"head_dim": None, key: value}
    change_json(odd / "config.json", **changes)
    what = refused(base, odd).what
    assert what.startswith(f"{key} is {value} in odd but ")
    assert what.endswith("in base")


def test_an_unknown_architecture(base: Path, odd: Path) -> None:
    change_json(odd / "config.json", model_type="galaxy")
    assert "config.json in " in refused(base, odd).what
    assert "no known architecture" in refused(base, odd).what


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_size", "big"), ("use_cache", None), ("dtype", []), ("head_dim", [])]
)
def test_a_setting_that_is_none(base: Path, odd: Path, key: str, value: Any) -> None:
    change_json(odd / "config.json", **{key: value})
    assert "config.json in" in refused(base, odd).what


def test_a_voice_is_checked_before_the_weights_are_merged(odd: Path, tmp_path: Path) -> None:
    from merge.run import merge_models

    section = Merge(method="slerp", t=0.5, models=[{"model": "a"}, {"model": "b"}])
    for text, what in (("{", "cannot be read as JSON"), ('{"eos_token_id": "x"}', "eos_token_id")):
        (odd / "generation_config.json").write_text(text)
        with pytest.raises(InputError, match=what):
            merge_models(section, {"a": odd, "b": odd}, 1, None, tmp_path / "out", "merge.merged")
    assert not (tmp_path / "out").exists()


def test_biases_that_mergekit_would_lose(
    tmp_path: Path, merge_tokenizer: PreTrainedTokenizerFast
) -> None:
    config = LlamaConfig(
        vocab_size=len(merge_tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        attention_bias=True,
    )
    for name in ("a", "b"):
        save_model(LlamaForCausalLM(config), merge_tokenizer, tmp_path / name)
    error = refused(tmp_path / "a", tmp_path / "b")
    assert "does not know the tensor model.layers.0.self_attn.k_proj.bias" in error.what


def test_another_vocabulary(base: Path, odd: Path) -> None:
    train_tokenizer(["quite another text"], SHAPE.vocab_size).save_pretrained(odd)
    what = refused(base, odd).what
    assert "the tokenizers of odd and base number" in what
    assert "tokens differently: 'er' is " in what


def test_added_tokens(base: Path, odd: Path) -> None:
    """Two models that took the same free number for tokens of their own."""
    tokenizer = train_tokenizer([TEXT], SHAPE.vocab_size)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|odd|>", "<|even|>"]})
    tokenizer.save_pretrained(odd)
    size = len(tokenizer) - 2
    what = refused(base, odd).what
    assert what == (
        "the tokenizers of odd and base differ by added tokens: "
        f"only odd has '<|odd|>' ({size}), '<|even|>' ({size + 1})"
    )


def test_another_size_of_vocabulary(tmp_path: Path, base: Path) -> None:
    """A model whose embedding grew, as chat formats make it: said before mergekit fails."""
    tokenizer = train_tokenizer([TEXT], SHAPE.vocab_size)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    model = LlamaForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer))
    save_model(model, tokenizer, tmp_path / "odd")
    assert "vocab_size is " in refused(base, tmp_path / "odd").what


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("config.json", "no readable config.json"),
        ("model.safetensors", "no safetensors weights"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_an_incomplete_folder(merge_ctx: StageContext, odd: Path, file: str, what: str) -> None:
    (odd / file).unlink()
    section = Merge.model_validate(
        {"base": "train.cpt", "models": [{"model": str(odd), "weight": 1.0}]}
    )
    with pytest.raises(InputError, match=what):
        MergeStage(section).source_files(merge_ctx)


def test_truncated_weights(base: Path, odd: Path) -> None:
    path = odd / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert refused(base, odd).what == f"cannot read the weights in {path}"


def test_a_missing_folder(base: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused(base, tmp_path / "nowhere").what


def test_an_adapter(base: Path, odd: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (odd / name).unlink()
    (odd / "adapter_config.json").write_text("{}")
    save_file({"a": torch.zeros(1)}, odd / "adapter_model.safetensors")
    error = refused(base, odd)
    assert "is a LoRA adapter" in error.what
    assert "merge_and_unload" in error.remedy


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickles(base: Path, odd: Path, name: str) -> None:
    (odd / "model.safetensors").rename(odd / name)
    error = refused(base, odd)
    assert "are pickled" in error.what
    assert name in error.what
    assert "convert" in error.remedy


def sharded(folder: Path) -> dict[str, str]:
    """Splits a model's weights into two files with an index; returns tensor to file."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    where = {name: files[number % 2] for number, name in enumerate(names)}
    for file in files:
        save_file({n: tensors[n] for n in names if where[n] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return where


def test_shards_are_read_by_their_index(base: Path, odd: Path) -> None:
    """And nothing else is: Meta's own folders hold the weights a second time under other names."""
    expected = read_weights(odd, "w").shapes
    sharded(odd)
    save_file({"tok_embeddings.weight": torch.zeros(3)}, odd / "consolidated.safetensors")
    assert read_weights(odd, "w").shapes == expected
    assert check_models({"base": base, "odd": odd}, "w").shapes == expected


def test_a_missing_shard(base: Path, odd: Path) -> None:
    sharded(odd)
    (odd / "model-00002-of-00002.safetensors").unlink()
    what = "1 of 2 weight files are missing: model-00002-of-00002.safetensors"
    assert refused(base, odd).what == what


def test_an_index_that_names_what_is_not_there(base: Path, odd: Path) -> None:
    where = sharded(odd)
    change_json(odd / INDEX_NAME, weight_map={**where, "model.ghost": sorted(where.values())[0]})
    assert "lacks the tensor model.ghost" in refused(base, odd).what


@pytest.mark.parametrize(
    "text", ["[", "{}", '{"weight_map": {"a": 3}}', '{"weight_map": {"a": "../b"}}']
)
def test_a_broken_index(base: Path, odd: Path, text: str) -> None:
    sharded(odd)
    (odd / INDEX_NAME).write_text(text)
    assert f"{INDEX_NAME} cannot be read" in refused(base, odd).what


def test_shards_without_an_index(base: Path, odd: Path) -> None:
    sharded(odd)
    (odd / INDEX_NAME).unlink()
    assert f"neither model.safetensors nor {INDEX_NAME}" in refused(base, odd).what


def test_pieces_are_the_tensors(merge_ctx: StageContext, base: Path, odd: Path) -> None:
    """Read in pieces of a few rows, the same numbers come, sharded or not."""
    sharded(odd)
    models = [read_weights(folder, "w") for folder in (base, odd)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("merge.weights._PIECE_ELEMENTS", 100)
        found: dict[str, list[torch.Tensor]] = {}
        for name, (_, piece) in pieces(models):
            assert piece.shape[0] <= max(1, 100 // (piece.numel() // piece.shape[0]))
            found.setdefault(name, []).append(piece)
    expected = load_file(merge_ctx.root / USER / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, parts in found.items():
        assert torch.equal(torch.cat(parts), expected[name])


def budget(**changes: Any) -> Budget:
    values = {
        "tensors": 1,
        "parameters": 10,
        "out_bytes": 2**30,
        "memory_bytes": 2**30,
        "free_disk_bytes": 2**31,
        "free_memory_bytes": 2**31,
    }
    return Budget(**{**values, **changes})


def test_too_little_disk_or_memory() -> None:
    check_budget(budget(), "w")
    check_budget(budget(free_memory_bytes=None), "w")
    with pytest.raises(InputError, match=r"takes 1\.00 GiB of disk, and 0\.50 GiB are free"):
        check_budget(budget(free_disk_bytes=2**29), "w")
    with pytest.raises(InputError, match=r"about 1\.00 GiB of memory, and 0\.50 GiB are free"):
        check_budget(budget(free_memory_bytes=2**29), "w")
    with pytest.raises(InputError, match=r"3\.00 GiB of disk"):
        check_budget(budget().times(3), "w")


def test_the_estimate_goes_by_the_largest_tensor(base: Path, tmp_path: Path) -> None:
    weights = read_weights(base, "w")
    two, four = (estimate(weights, n, "float32", tmp_path / "no" / "yet") for n in (3, 4))
    assert four.memory_bytes - two.memory_bytes == 5 * 4 * weights.largest
    assert two.free_disk_bytes > 0


def test_a_whole_folder_passes(odd: Path) -> None:
    """Pickles beside complete safetensors are never read and do no harm."""
    (odd / "pytorch_model.bin").write_bytes(b"pickle")
    check_folder(odd, "w")
