"""What each rank of a parity test does: train, hand over its state, save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn import functional

from core.recipe.train import Trainer
from tests.train.reference import Curve, share_of
from train.data import IGNORE, MicroBatch
from train.engine import STATE_KINDS, StateFragment

State = dict[tuple[str, str], torch.Tensor]
"""Whole float32 tensors by name and kind."""


class ReadMemory:
    """A state in memory, read as from a checkpoint."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(self, name: str, kind: str) -> torch.Tensor:
        return self._state[name, kind]

    def part(
        self,
        name: str,
        kind: str,
        start: int,
        length: int,
        cut: tuple[int, int, int] | None = None,
    ) -> torch.Tensor:
        whole = self(name, kind)
        if cut is not None:
            dim, index, count = cut
            whole = whole.chunk(count, dim=dim)[index]
        return whole.flatten()[start : start + length]


@dataclass
class RankRun:
    """What one rank reports."""

    curve: Curve = field(default_factory=Curve)
    fragments: list[StateFragment] = field(default_factory=list)
    """Its part of the state after the step asked for."""
    parameters: int = 0
    again: Curve | None = None
    """The steps after that one, from the state put back."""


def pipeline_section(tensor: int, pipeline: int, data: int, **changes: Any) -> Trainer:
    checkpointing = changes.pop("activation_checkpointing", False)
    return Trainer.model_validate(
        {
            "global_batch_sequences": 8,
            "micro_batch_size": 1,
            "num_workers": tensor * pipeline * data,
            "weight_decay": 0.1,
            "max_grad_norm": 0.5,
            "parallel": {
                "engine": "pipeline",
                "tensor_parallel_size": tensor,
                "pipeline_parallel_size": pipeline,
                "activation_checkpointing": checkpointing,
            },
            **changes,
        }
    )


def train_rank(
    folder: str,
    section: Trainer,
    batches: Sequence[MicroBatch],
    rates: Sequence[float],
    out: str,
    *,
    state: State | None = None,
    start: int = 0,
    state_after: int = 0,
    rewind: bool = False,
) -> RankRun:
    """Saves to ``out``/start, trains from step ``start`` on, saves to ``out``/end."""
    from train.engines import open_engine

    engine = open_engine(Path(folder), section)
    run = RankRun(parameters=engine.parameters)
    engine.save(Path(out) / "start")
    if state is not None:
        engine.load_fragments(ReadMemory(state), start)
    for step in range(start, len(batches)):
        _train(engine, section, batches[step], rates[step], run.curve)
        if step + 1 == state_after:
            run.fragments = [_copy(f) for f in engine.fragments()]
    engine.save(Path(out) / "end")
    if rewind:
        gathered: list[Any] = [None] * section.num_workers
        distributed.all_gather_object(gathered, run.fragments)
        whole = assemble([f for fragments in gathered for f in fragments])
        engine.load_fragments(ReadMemory(whole), state_after)
        run.again = Curve()
        for step in range(state_after, len(batches)):
            _train(engine, section, batches[step], rates[step], run.again)
    return run


def _train(engine: Any, section: Trainer, batch: MicroBatch, rate: float, curve: Curve) -> None:
    mine = share_of(batch, engine.data_rank, engine.data_size, section.micro_batch_size)
    result = engine.step(mine, rate)
    curve.losses.append(result.loss)
    curve.grad_norms.append(result.grad_norm)
    curve.update_norms.append(result.update_norm)
    curve.tokens.append(result.tokens)


def _copy(fragment: StateFragment) -> StateFragment:
    values = {kind: tensor.clone() for kind, tensor in fragment.values.items()}
    return StateFragment(**{**vars(fragment), "values": values})


def assemble(fragments: Sequence[StateFragment]) -> State:
    """Puts whole tensors together, and checks that every number was given exactly once."""
    state: State = {}
    given: State = {}
    for f in fragments:
        assert set(f.values) == set(STATE_KINDS)
        for kind, values in f.values.items():
            assert (values.dtype, values.ndim) == (torch.float32, 1)
            whole = state.setdefault((f.name, kind), torch.zeros(f.shape))
            count = given.setdefault((f.name, kind), torch.zeros(f.shape, dtype=torch.int64))
            for target, source in ((whole, values), (count, torch.ones_like(values).long())):
                part = target if f.slice_dim is None else _slice(target, f)
                flat = part.flatten()
                flat[f.start : f.start + len(values)] += source
                part.copy_(flat.view(part.shape))
    assert all(bool((count == 1).all()) for count in given.values())
    return state


def _slice(whole: torch.Tensor, fragment: StateFragment) -> torch.Tensor:
    assert fragment.slice_dim is not None
    return whole.chunk(fragment.slice_count, dim=fragment.slice_dim)[fragment.slice_index]


def vocab_parts_on_rank(
    matrix: torch.Tensor, ids: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Returns embeddings, loss and gradients with the vocabulary cut, then those of plain PyTorch.

    Args:
        matrix: (V, E), both embedding and head.
        ids: (B, S).
        targets: (B, S).
    """
    from train.pipeline.shape import LlamaShape, Rope
    from train.pipeline.tensor_parallel import TensorGroup
    from train.pipeline.vocab import VocabEmbedding, logits_of, vocab_parallel_cross_entropy

    rank, size = distributed.get_rank(), distributed.get_world_size()
    group = TensorGroup(distributed.group.WORLD, rank, size)
    shape = LlamaShape(*matrix.shape, 1, 1, 1, 1, 1, 1e-5, True, Rope("default", 1e4))
    cut = VocabEmbedding(shape, group, torch.float32)
    with torch.no_grad():
        cut.weight.copy_(matrix.chunk(size)[rank])
    embedded, _ = cut((ids, ids))
    embedded.retain_grad()
    logits = logits_of(cut, embedded.tanh())
    loss = vocab_parallel_cross_entropy(logits.flatten(0, 1), targets.flatten(), group)
    loss.backward()

    whole = matrix.clone().requires_grad_()
    expected = functional.embedding(ids, whole)
    expected.retain_grad()
    plain = functional.cross_entropy(
        functional.linear(expected.tanh(), whole).flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )
    plain.backward()
    mine = whole.grad.chunk(size)[rank]
    found = (embedded, embedded.grad, cut.weight.grad, loss)
    wanted = (expected, expected.grad, mine, plain)
    return tuple(t.detach().clone() for t in (*found, *wanted))
