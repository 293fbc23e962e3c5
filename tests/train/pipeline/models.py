"""Small random Llamas in Hugging Face folders, and our layers put together without DeepSpeed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from train.pipeline.attention import Layout
from train.pipeline.layers import Block, FinalNorm
from train.pipeline.reading import check_tensors, read_weights
from train.pipeline.shape import read_shape
from train.pipeline.stages import held_by
from train.pipeline.tensor_parallel import TensorGroup
from train.pipeline.vocab import VocabEmbedding, VocabHead, logits_of

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""As in Llama 3.1's config.json."""


def make_llama(folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """Saves a random Llama: 2 layers, 4 heads that share 2 keys, vocabulary of 96."""
    values = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
        **changes,
    }
    config = LlamaConfig(**values)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = LlamaForCausalLM(config).to(dtype)
        for name, parameter in model.named_parameters():
            if "norm" in name:  # ones would hide a norm that is skipped or swapped
                nn.init.normal_(parameter, 1.0, 0.2)
            else:
                nn.init.normal_(parameter, 0.0, 0.1)
    model.save_pretrained(folder, max_shard_size=changes.pop("max_shard_size", "1GB"))
    return folder


class PlainLlama(nn.Module):
    """All layers in one process, in the order that the pipeline runs them."""

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype = torch.float32,
        group: TensorGroup = TensorGroup(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        shape = read_shape(folder)
        layout = Layout(shape.rope, shape.head_dim, dtype)
        self.embedding = VocabEmbedding(shape, group, dtype)
        self.blocks = nn.ModuleList(
            Block(shape, layer, group, layout, dtype) for layer in range(shape.layers)
        )
        self.norm = FinalNorm(shape, dtype)
        self.head = None if shape.tied else VocabHead(shape, group, dtype)
        self.held = list(held_by(self))
        read_weights(check_tensors(folder, shape), self.held, group)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        x = self.embedding((ids, positions))
        for block in self.blocks:
            x = block(x)
        hidden = self.norm(x)
        return logits_of(self.embedding, hidden) if self.head is None else self.head(hidden)
