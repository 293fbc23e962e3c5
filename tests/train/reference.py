"""The plain PyTorch loop that every engine is held against: one process, one backward pass a step.

It shares no code with the engines: Hugging Face's model, the loss spelled out, AdamW, clipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from transformers import AutoModelForCausalLM

from core.recipe.train import Trainer
from train.data import IGNORE, MicroBatch


@dataclass
class Curve:
    """What a run of some steps did, one number per step."""

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    update_norms: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights after the last step, by Hugging Face name; a tied head comes once."""


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def reference_run(
    folder: Path, section: Trainer, steps: Sequence[Sequence[MicroBatch]], rates: Sequence[float]
) -> Curve:
    """Trains on whole global batches.

    Args:
        folder: of the model to start from.
        section: optimizer and clipping; batch sizes are ignored.
        steps: the micro batches of each global batch, those of all workers.
        rates: learning rate of each step.
    """
    model = load(folder)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for p in model.parameters() if p.ndim == 2],
                "weight_decay": section.weight_decay,
            },
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        betas=(section.adam_beta1, section.adam_beta2),
        eps=section.adam_epsilon,
    )
    curve = Curve()
    for micro_batches, rate in zip(steps, rates, strict=True):
        loss, tokens = _mean_loss(model, micro_batches)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), section.max_grad_norm)
        before = [p.detach().clone() for p in model.parameters()]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        moved = sum(
            float((p.detach() - old).double().square().sum())
            for p, old in zip(model.parameters(), before, strict=True)
        )
        curve.losses.append(loss.item())
        curve.grad_norms.append(float(norm))
        curve.update_norms.append(moved**0.5)
        curve.tokens.append(tokens)
    curve.weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    return curve


def _mean_loss(model: Any, micro_batches: Sequence[MicroBatch]) -> tuple[torch.Tensor, int]:
    ids, positions, labels = (
        torch.cat([getattr(b, name) for b in micro_batches])
        for name in ("input_ids", "position_ids", "labels")
    )
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    logprobs = logits[:, :-1].log_softmax(-1)
    target = labels[:, 1:]
    trained = target != IGNORE
    picked = logprobs.gather(-1, target.clamp(min=0)[..., None])[..., 0]
    return -picked[trained].mean(), int(trained.sum())


STEPS = 10


def made_batches(vocabulary: int = 96, length: int = 24, sequences: int = 8) -> list[MicroBatch]:
    """Returns ten global batches of packed sequences with fine-tuning masks.

    Two documents per sequence, and between none and nearly all of a sequence's tokens trained, so
    that a mean of means differs from the mean.
    """
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(STEPS):
        ids = torch.randint(0, vocabulary, (sequences, length), generator=generator)
        border = torch.randint(1, length, (sequences, 1), generator=generator)
        at = torch.arange(length)[None]
        positions = torch.where(at >= border, at - border, at)
        share = torch.rand(sequences, 1, generator=generator) ** 2
        mask = torch.rand(sequences, length, generator=generator) < share
        labels = torch.where(mask & (positions != 0), ids, torch.tensor(IGNORE))
        batches.append(MicroBatch(ids, positions, labels))
    return batches


def share_of(batch: MicroBatch, rank: int, size: int, micro_batch: int) -> list[MicroBatch]:
    """Returns the micro batches of one of ``size`` data-parallel workers."""
    rows = len(batch.labels) // size
    mine = slice(rank * rows, (rank + 1) * rows)
    part = MicroBatch(batch.input_ids[mine], batch.position_ids[mine], batch.labels[mine])
    return part.split(micro_batch)
