"""Tiny models trained from one base: what every merge test starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from core.recipe.train import TinyModel
from core.stage import StageContext
from core.tiny import make_tiny_llama, save_model, train_tokenizer

SHAPE = TinyModel(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)
TEXT = "A merger of two galaxies makes an elliptical one."
USER = "users+models@home"
"""A folder of the user's; mergekit reads ``+`` and ``@`` in a name as adapter and revision."""


@pytest.fixture(scope="session")
def merge_tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([TEXT], SHAPE.vocab_size)


@pytest.fixture(scope="session")
def merge_ctx(
    tmp_path_factory: pytest.TempPathFactory, merge_tokenizer: PreTrainedTokenizerFast
) -> StageContext:
    """A base, three models with noise added to all its tensors; one of them the user's folder."""
    root = tmp_path_factory.mktemp("root")
    ctx = StageContext(root / "run", root, seed=11)
    places = {
        "train.cpt": ctx.folder("train.cpt") / "model",
        "train.sft": ctx.folder("train.sft") / "model",
        "train.instruct": ctx.folder("train.instruct") / "model",
        USER: root / USER,
    }
    for number, folder in enumerate(places.values()):
        model = make_tiny_llama(SHAPE, merge_tokenizer, seed=1)
        torch.manual_seed(number)
        with torch.no_grad():
            for parameter in model.parameters() if number else []:
                parameter += 0.01 * torch.randn_like(parameter)
        save_model(model, merge_tokenizer, folder)
    (places[USER] / "chat_template.jinja").write_text("the last model's template")
    return ctx


def weights(ctx: StageContext, name: str) -> dict[str, torch.Tensor]:
    return load_file(Path(ctx.model_path(name)) / "model.safetensors")


def merged(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        found.update(load_file(path))
    return found
