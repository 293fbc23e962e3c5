"""The whole model as a list of layers for DeepSpeed, and which tensors each layer holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from train.pipeline.attention import Layout
from train.pipeline.layers import Block, FinalNorm
from train.pipeline.shape import EMBEDDING, FINAL_NORM, HEAD, LlamaShape, layer_prefix
from train.pipeline.tensor_parallel import Held, TensorGroup
from train.pipeline.vocab import VocabEmbedding, VocabHead, logits_of

_TIED = "embedding"


def layer_specs(shape: LlamaShape, tensor_group: TensorGroup, dtype: torch.dtype) -> list[Any]:
    """Returns DeepSpeed's layer specifications; a layer is built only on its stage.

    Args:
        shape: of the whole model.
        tensor_group: who shares the matrices of this worker's stage.
        dtype: of weights and activations.
    """
    from deepspeed.pipe import LayerSpec, TiedLayerSpec

    layout = Layout(shape.rope, shape.head_dim, dtype)
    ends = (shape, tensor_group, dtype)
    blocks = [
        LayerSpec(Block, shape, layer, tensor_group, layout, dtype) for layer in range(shape.layers)
    ]
    norm = LayerSpec(FinalNorm, shape, dtype)
    if shape.tied:
        first = TiedLayerSpec(_TIED, VocabEmbedding, *ends)
        last = TiedLayerSpec(_TIED, VocabEmbedding, *ends, forward_fn=logits_of)
    else:
        first, last = LayerSpec(VocabEmbedding, *ends), LayerSpec(VocabHead, *ends)
    return [first, *blocks, norm, last]


def stage_tensors(shape: LlamaShape, parts: Sequence[int]) -> list[list[str]]:
    """Returns the names of the tensors of each stage; a tied head counts to the first.

    Args:
        shape: of the whole model.
        parts: first layer of each stage, in :func:`layer_specs`, and the number of layers.
    """
    inside = list(shape.layer_tensors())
    layers = [[layer_prefix(layer) + name for name in inside] for layer in range(shape.layers)]
    names = [[EMBEDDING], *layers, [FINAL_NORM], [] if shape.tied else [HEAD]]
    return [
        [name for layer in names[first:end] for name in layer] for first, end in pairwise(parts)
    ]


def held_by(module: nn.Module) -> Iterator[Held]:
    """Yields the parameters of a stage; a tied matrix once, on every stage that has a copy."""
    for layer in module.modules():
        if isinstance(layer, VocabEmbedding | VocabHead | Block | FinalNorm):
            yield from layer.held()
