"""The ZeRO engine against a plain PyTorch loop, on one rank; test_stage.py has two ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from core.recipe.train import Trainer
from train.data import MicroBatch, SequenceDataset, rank_batches
from train.order import SequenceOrder
from train.zero import ZeroEngine, decay_groups

STEPS = 10
SECTION = Trainer(
    epochs=10.0,
    global_batch_sequences=8,
    micro_batch_size=2,
    learning_rate=5e-3,
    weight_decay=0.1,
    max_grad_norm=0.5,
)


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def steps(
    tmp_path_factory: pytest.TempPathFactory, write_tokens: Callable[..., Path]
) -> list[list[MicroBatch]]:
    """Ten steps of four micro batches; the last holds padding."""
    folder = write_tokens(tmp_path_factory.mktemp("data") / "tokens", [11, 8])
    order = SequenceOrder(19, epochs=78 / 19, global_batch=8, seed=1)
    dataset = SequenceDataset(folder)
    found = list(rank_batches(dataset, order, rank=0, world_size=1, micro_batch=2))
    assert len(found) == STEPS
    assert order.padding == 2
    return found


def plain_loop(
    folder: Path, steps: list[list[MicroBatch]]
) -> tuple[list[float], list[float], list[float], dict[str, torch.Tensor]]:
    """Plain AdamW: one backward pass over the whole batch, mean over its trained tokens."""
    model = load(folder)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": 0.1},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=SECTION.learning_rate,
        betas=(SECTION.adam_beta1, SECTION.adam_beta2),
        eps=SECTION.adam_epsilon,
    )
    losses, norms, updates = [], [], []
    for micro_batches in steps:
        whole = [
            torch.cat([getattr(b, name) for b in micro_batches])
            for name in ("input_ids", "position_ids", "labels")
        ]
        ids, positions, labels = whole
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        logprobs = logits[:, :-1].log_softmax(-1)
        target = labels[:, 1:]
        trained = target != -100
        picked = logprobs.gather(-1, target.clamp(min=0)[..., None])[..., 0]
        loss = -picked[trained].mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), SECTION.max_grad_norm)
        old = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        moved = sum(
            float((p.detach() - o).double().square().sum())
            for p, o in zip(model.parameters(), old, strict=True)
        )
        losses.append(loss.item())
        norms.append(float(norm))
        updates.append(math.sqrt(moved))
    return losses, norms, updates, dict(model.named_parameters())


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
@pytest.mark.usefixtures("process_group")
def test_equals_a_plain_adamw_loop(
    tiny_model: Path, steps: list[list[MicroBatch]], zero_stage: int, tmp_path: Path
) -> None:
    losses, norms, updates, weights = plain_loop(tiny_model, steps)
    assert max(norms) > SECTION.max_grad_norm, "clipping is not tested"
    counts = {b.trained_tokens for batches in steps for b in batches}
    assert len(counts) > 20, "micro batches hold the same number of trained tokens"

    engine = ZeroEngine(tiny_model, SECTION.model_copy(update={"zero_stage": zero_stage}))
    results = [engine.step(batches, SECTION.learning_rate) for batches in steps]
    assert [r.loss for r in results] == pytest.approx(losses, abs=1e-5)
    assert [r.grad_norm for r in results] == pytest.approx(norms, rel=1e-4)
    assert [r.update_norm for r in results] == pytest.approx(updates, rel=1e-4)
    assert losses[-1] < losses[0] - 0.1

    engine.save(tmp_path / "model")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert set(saved) == set(weights)
    for name, value in saved.items():
        assert torch.allclose(value, weights[name].detach(), atol=1e-5), name


@pytest.mark.usefixtures("process_group")
def test_the_saved_model_loads_with_tied_embeddings(
    tiny_model: Path, steps: list[list[MicroBatch]], tmp_path: Path
) -> None:
    engine = ZeroEngine(tiny_model, SECTION)
    engine.step(steps[0], 1e-3)
    engine.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert again.config.use_cache
    assert sum(p.numel() for p in again.parameters()) == engine.parameters
    ids = steps[0][0].input_ids
    with torch.no_grad():
        expected = engine._engine.module(input_ids=ids).logits
        assert torch.equal(again(input_ids=ids).logits, expected)


@pytest.mark.usefixtures("process_group")
def test_bfloat16_learns_and_is_saved_as_such(
    tiny_model: Path, steps: list[list[MicroBatch]], tmp_path: Path
) -> None:
    engine = ZeroEngine(tiny_model, SECTION.model_copy(update={"dtype": "bfloat16"}))
    losses = [engine.step(batches, 5e-3).loss for batches in steps]
    expected, *_ = plain_loop(tiny_model, steps)
    assert losses == pytest.approx(expected, abs=0.05)
    engine.save(tmp_path / "model")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {t.dtype for t in saved.values()} == {torch.bfloat16}


@pytest.mark.usefixtures("process_group")
def test_a_batch_without_trained_tokens_changes_nothing(
    tiny_model: Path, steps: list[list[MicroBatch]]
) -> None:
    section = SECTION.model_copy(update={"weight_decay": 0.0})
    engine = ZeroEngine(tiny_model, section)
    silent = [
        MicroBatch(b.input_ids, b.position_ids, torch.full_like(b.labels, -100)) for b in steps[0]
    ]
    result = engine.step(silent, 1e-3)
    assert (result.loss, result.tokens, result.update_norm) == (0.0, 0, 0.0)


def test_packed_documents_do_not_see_each_other(tiny_model: Path) -> None:
    model = load(tiny_model)
    first, second = torch.arange(5, 17)[None], torch.arange(40, 60)[None]
    packed = torch.cat([first, second], dim=1).repeat(2, 1)
    positions = torch.cat([torch.arange(12), torch.arange(20)])[None].repeat(2, 1)
    with torch.no_grad():
        together = model(input_ids=packed, position_ids=positions, use_cache=False).logits
        alone = model(input_ids=second, use_cache=False).logits
    assert torch.allclose(together[1, 12:], alone[0], atol=1e-5)


def test_norms_do_not_decay(tiny_model: Path) -> None:
    matrices, vectors = decay_groups(load(tiny_model), 0.1)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
