"""A tiny random Llama, made once for all engine tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.recipe.train import TinyModel
from core.tiny import make_tiny_llama, save_model, train_tokenizer

TEXTS = (
    "Jupiter is the largest planet in the Solar System. Its radius is 69,911 km.",
    "Saturn has rings of water ice, and Titan is its largest moon.",
    'A question and its answer as JSON: {"pairs": [{"question": "Who?", "answer": "He"}]}',
    "Élise measured α Centauri at 4.37 light-years. 🎉",
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with 256 positions."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = train_tokenizer(TEXTS * 3, 400)
    shape = TinyModel(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
    )
    model = make_tiny_llama(shape, tokenizer, seed=0)
    with torch.no_grad():
        # Larger embeddings: a fresh model's logits are all but equal, which would hide mistakes.
        model.get_input_embeddings().weight.mul_(3)
    save_model(model, tokenizer, folder)
    return folder
