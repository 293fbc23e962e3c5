"""Edges of the engine that one process shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.errors import InputError
from tests.train.pipeline.models import make_llama
from tests.train.pipeline.runs import pipeline_section
from tests.train.reference import made_batches
from train.data import IGNORE, MicroBatch
from train.pipeline.engine import PipelineEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "plain")


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_batch_without_trained_tokens_changes_nothing(folder: Path, dtype: str) -> None:
    engine = PipelineEngine(folder, pipeline_section(1, 1, 1, weight_decay=0.0, dtype=dtype))
    assert {f.values["exp_avg"].count_nonzero().item() for f in engine.fragments()} == {0}
    silent = [
        MicroBatch(b.input_ids, b.position_ids, torch.full_like(b.labels, IGNORE))
        for b in made_batches()[0].split(1)
    ]
    result = engine.step(silent, 1e-3)
    assert (result.loss, result.grad_norm, result.update_norm, result.tokens) == (0, 0, 0, 0)


@pytest.mark.usefixtures("process_group")
def test_the_number_of_micro_batches_never_changes(folder: Path) -> None:
    engine = PipelineEngine(folder, pipeline_section(1, 1, 1))
    with pytest.raises(ValueError, match="7 micro batches, not 8"):
        engine.step(made_batches()[0].split(1)[1:], 1e-3)


def test_what_cannot_be_is_refused_before_anything_starts(folder: Path) -> None:
    with pytest.raises(ValueError, match="ZeRO stage 1, not 3: set zero_stage: 1"):
        pipeline_section(1, 1, 1, zero_stage=3)
    with pytest.raises(InputError, match="does not divide the model's num_key_value_heads"):
        PipelineEngine(folder, pipeline_section(4, 1, 1))
