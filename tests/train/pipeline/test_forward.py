"""Our layers against Hugging Face's Llama, in one process."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from core.errors import InputError
from tests.train.pipeline.models import LLAMA3_ROPE, PlainLlama, make_llama
from train.data import IGNORE
from train.pipeline.attention import Documents, _bounds, _mask, attend
from train.pipeline.shape import read_shape
from train.pipeline.tensor_parallel import TensorGroup
from train.pipeline.vocab import vocab_parallel_cross_entropy

PACKED = torch.cat([torch.arange(11), torch.arange(1), torch.arange(20)])
"""Three documents, one of a single token."""


@pytest.mark.parametrize(
    ("changes", "positions"),
    [
        pytest.param({}, torch.arange(32), id="one document"),
        pytest.param({}, PACKED, id="three documents"),
        pytest.param({"num_key_value_heads": 4}, PACKED, id="every head its own keys"),
        pytest.param({"num_key_value_heads": 1}, PACKED, id="all heads share keys"),
        pytest.param({"tie_word_embeddings": True}, PACKED, id="tied head"),
        pytest.param({"head_dim": 16}, PACKED, id="heads wider than the hidden size"),
        pytest.param(
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
            torch.arange(32) + 5000,
            id="linear scaling",
        ),
        pytest.param({"rope_parameters": LLAMA3_ROPE}, PACKED, id="llama3 scaling"),
        pytest.param(
            {"rope_parameters": LLAMA3_ROPE},
            torch.cat([torch.arange(16) + 8180, torch.arange(16) + 100_000]),
            id="llama3 scaling beyond 8,192",
        ),
    ],
)
def test_logits_and_gradients_equal_hugging_face(
    changes: dict[str, Any], positions: torch.Tensor, tmp_path: Path
) -> None:
    folder = make_llama(tmp_path / "model", **changes)
    ids = torch.randint(0, 96, (2, 32), generator=torch.Generator().manual_seed(3))
    at = positions[None].repeat(2, 1)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    expected = theirs(input_ids=ids, position_ids=at, use_cache=False).logits
    ours = PlainLlama(folder)
    found = ours(ids, at)
    assert expected.abs().max() > 0.5
    assert (found - expected).abs().max() < 1e-5

    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(4))
    (expected * weights).mean().backward()
    (found * weights).mean().backward()
    theirs_by_name = dict(theirs.named_parameters())
    assert {h.name for h in ours.held} == set(theirs_by_name)
    for held in ours.held:
        assert torch.allclose(
            held.parameter.grad, theirs_by_name[held.name].grad, rtol=1e-4, atol=1e-6
        ), held.name


def test_bfloat16_equals_hugging_face(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model", torch.bfloat16, rope_parameters=LLAMA3_ROPE)
    ids, at = torch.arange(32)[None], PACKED[None]
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.no_grad():
        expected = theirs(input_ids=ids, position_ids=at, use_cache=False).logits
        found = PlainLlama(folder, torch.bfloat16)(ids, at)
    assert found.dtype == torch.bfloat16
    assert (found - expected).abs().max() < 0.03 * expected.abs().max()


def test_older_config_files_keep_rope_scaling_apart(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model", rope_parameters=LLAMA3_ROPE)
    new = read_shape(folder)
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope
    (folder / "config.json").write_text(json.dumps(config))
    assert read_shape(folder) == new
    assert new.rope.kind == "llama3"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
            "rotary scaling 'yarn'",
        ),
    ],
)
def test_other_models_are_refused(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(InputError, match=what):
        read_shape(folder)


def test_a_cut_that_does_not_come_out_even_is_refused(tmp_path: Path) -> None:
    shape = read_shape(make_llama(tmp_path / "model", num_key_value_heads=2))
    shape.check_parallel(2, 2, "train.cpt")
    with pytest.raises(InputError, match="does not divide the model's num_key_value_heads 2"):
        shape.check_parallel(4, 1, "train.cpt")
    with pytest.raises(InputError, match="3 is more than the model's 2 layers"):
        shape.check_parallel(1, 3, "train.cpt")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cross_entropy_equals_pytorchs(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(40, 96, generator=generator).mul(8).to(dtype).requires_grad_()
    targets = torch.randint(0, 96, (40,), generator=generator)
    targets[::3] = IGNORE
    again = logits.detach().clone().requires_grad_()
    expected = functional.cross_entropy(
        again.float(), targets, ignore_index=IGNORE, reduction="sum"
    )
    found = vocab_parallel_cross_entropy(logits, targets, TensorGroup())
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=1e-6)
    (expected * 0.5).backward()
    (found * 0.5).backward()
    assert torch.allclose(logits.grad, again.grad, atol=1e-6 if dtype == torch.float32 else 1e-2)


def test_bounds_for_the_flash_kernel_are_the_documents_of_the_mask() -> None:
    """The kernel itself needs a GPU; what it is told is checked here."""
    generator = torch.Generator().manual_seed(8)
    query = torch.randn(2, 32, 4, 8, generator=generator)
    key, value = (torch.randn(2, 32, 2, 8, generator=generator) for _ in range(2))
    first = torch.stack([PACKED == 0, torch.arange(32) == 0])
    bounds, mask = _bounds(first), _mask(first)
    assert bounds.ends.tolist() == [0, 11, 12, 32, 64]
    assert (bounds.ends.dtype, bounds.longest_tokens) == (torch.int32, 32)
    nothing = torch.empty(0)
    found = attend(query, key, value, Documents(nothing, nothing, mask, None))
    for start, end in pairwise(bounds.ends.tolist()):
        q, k, v = (x.flatten(0, 1)[None, start:end] for x in (query, key, value))
        alone = attend(q, k, v, Documents(nothing, nothing, None, None))
        assert torch.allclose(found.flatten(0, 1)[None, start:end], alone, atol=1e-6)


def test_cross_entropy_of_no_trained_token_is_zero() -> None:
    logits = torch.randn(4, 96, requires_grad=True)
    loss = vocab_parallel_cross_entropy(logits, torch.full((4,), IGNORE), TensorGroup())
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
