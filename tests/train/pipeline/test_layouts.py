"""The training loop with the pipeline engine; its checkpoint goes on under another engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from core.recipe.train import Trainer
from tests.train.pipeline.models import make_llama
from tests.train.ranks import run_ranks
from train.loop import train_loop
from train.spec import LoopSpec

STEPS, SAVED = 6, 3


def run(root: Path, out: Path, workers: int, **layout: Any) -> list[dict[str, float]]:
    """Returns the metrics of all steps, those before the checkpoint included."""
    section = Trainer.model_validate(
        {
            "global_batch_sequences": 4,
            "micro_batch_size": 1,
            "num_workers": workers,
            "learning_rate": 3e-3,
            "max_grad_norm": 0.5,
            "checkpoint": {"every_steps": SAVED, "every_minutes": 0, "keep_when_done": 9},
            **layout,
        }
    )
    out.mkdir()
    spec = LoopSpec(
        stage="train.cpt",
        model=str(root / "model"),
        tokens=str(root / "tokens"),
        out=str(out),
        section=section.model_dump(),
        seed=3,
        threads=1,
        started=time.time(),
        checkpoints=str(root / "checkpoints"),
    )
    run_ranks(workers, train_loop, asdict(spec))
    lines = (out / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_checkpoint_of_the_pipeline_goes_on_under_zero_3(
    tmp_path: Path, write_tokens: Callable[..., Path]
) -> None:
    model = make_llama(tmp_path / "model", vocab_size=256, tie_word_embeddings=True)
    write_tokens(tmp_path / "tokens", [14, 10])
    spread = {
        "engine": "pipeline",
        "tensor_parallel_size": 2,
        "activation_checkpointing": True,
    }
    whole = run(tmp_path, tmp_path / "pipeline", 2, parallel=spread)
    assert len(whole) == STEPS
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "pipeline" / "model")
    started = AutoModelForCausalLM.from_pretrained(model)
    assert not saved.lm_head.weight.equal(started.lm_head.weight)

    (folder,) = (p for p in (tmp_path / "checkpoints").iterdir() if p.is_dir())
    assert folder.name.endswith(f"{SAVED}"), "the state of the last step would prove nothing"
    again = run(tmp_path, tmp_path / "zero", 2, zero_stage=3)
    assert [m["step"] for m in again] == list(range(1, STEPS + 1))
    assert again[:SAVED] == whole[:SAVED], "it began anew"
    for key, bound in (("loss", {"abs": 1e-5}), ("grad_norm", {"rel": 1e-4})):
        assert [m[key] for m in again] == pytest.approx([m[key] for m in whole], **bound)
