"""A small model with room for solved questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.mcq import make_model, sample_questions
from core.recipe.train import TinyModel


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2,048 positions whose answers differ from question to question."""
    shape = TinyModel(
        vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=2048,
    )  # fmt: skip
    items, dev = sample_questions(40)
    return make_model(tmp_path_factory.mktemp("answering") / "model", items, dev, shape)
