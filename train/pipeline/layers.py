r"""The layers of Llama as DeepSpeed's pipeline wants them: a list, each fed by the one before.

Shapes: B sequences of a micro batch, S tokens of a sequence, E hidden size, H query heads, K
key-value heads, D numbers per head, F intermediate size. With tensor parallelism a worker has H,
K and F divided by the size of its group; E is whole everywhere.

::

    (ids, positions) → VocabEmbedding → Block → ... → Block → FinalNorm → head → logits
                       (hidden (B, S, E), positions (B, S))
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from train.pipeline.attention import Layout, attend
from train.pipeline.rope import rotate
from train.pipeline.shape import FINAL_NORM, LlamaShape, layer_prefix
from train.pipeline.tensor_parallel import (
    Held,
    Linear,
    TensorGroup,
    copy_to,
    new_parameter,
    sum_over,
)

Activations = tuple[torch.Tensor, torch.Tensor]
"""What goes from layer to layer: hidden (B, S, E) and positions (B, S)."""


class RmsNorm(nn.Module):
    """Root mean square normalisation, computed in float32. The same on every worker."""

    def __init__(self, shape: LlamaShape, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = new_parameter((shape.hidden,), None, 1, dtype)
        self.epsilon = shape.norm_epsilon

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns (B, S, E)."""
        x = hidden.float()
        x = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return self.weight * x.to(hidden.dtype)


class Attention(nn.Module):
    """Grouped-query attention; a worker has whole heads."""

    def __init__(self, shape: LlamaShape, slices: int, dtype: torch.dtype) -> None:
        super().__init__()
        query, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.head_dim = shape.head_dim
        self.q_proj = Linear((query, shape.hidden), 0, slices, dtype)
        self.k_proj = Linear((keys, shape.hidden), 0, slices, dtype)
        self.v_proj = Linear((keys, shape.hidden), 0, slices, dtype)
        self.o_proj = Linear((shape.hidden, query), 1, slices, dtype)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Returns this worker's part of the sum, (B, S, E)."""
        documents = layout.of(positions)
        heads = (*x.shape[:2], -1, self.head_dim)
        query = rotate(self.q_proj(x).view(heads), documents.cosine, documents.sine)
        key = rotate(self.k_proj(x).view(heads), documents.cosine, documents.sine)
        value = self.v_proj(x).view(heads)
        found: torch.Tensor = self.o_proj(attend(query, key, value, documents).flatten(2))
        return found


class Mlp(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: LlamaShape, slices: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_proj = Linear((shape.intermediate, shape.hidden), 0, slices, dtype)
        self.up_proj = Linear((shape.intermediate, shape.hidden), 0, slices, dtype)
        self.down_proj = Linear((shape.hidden, shape.intermediate), 1, slices, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns this worker's part of the sum, (B, S, E)."""
        found: torch.Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return found


class Block(nn.Module):
    """One decoder layer. Its class name is what DeepSpeed shares out over the stages."""

    def __init__(
        self,
        shape: LlamaShape,
        layer: int,
        tensor_group: TensorGroup,
        layout: Layout,
        dtype: torch.dtype,
    ) -> None:
        """Makes the layer, its weights not filled.

        Args:
            shape: of the whole model.
            layer: its number, for the names of its tensors.
            tensor_group: who shares its matrices.
            layout: of documents, shared by the layers of a stage.
            dtype: of weights and activations.
        """
        super().__init__()
        self._layer, self._tensor_group, self._layout = layer, tensor_group, layout
        self.input_layernorm = RmsNorm(shape, dtype)
        self.self_attn = Attention(shape, tensor_group.size, dtype)
        self.post_attention_layernorm = RmsNorm(shape, dtype)
        self.mlp = Mlp(shape, tensor_group.size, dtype)

    def held(self) -> Iterator[Held]:
        """Yields its parameters."""
        modules = dict(self.named_modules())
        for name, parameter in self.named_parameters():
            module = modules[name.removesuffix(".weight")]
            slice_dim = module.slice_dim if isinstance(module, Linear) else None
            yield Held(layer_prefix(self._layer) + name, parameter, slice_dim)

    def forward(self, inputs: Activations) -> Activations:
        """Returns hidden (B, S, E) and the positions unchanged."""
        hidden, positions = inputs
        group = self._tensor_group
        attended = self.self_attn(
            copy_to(self.input_layernorm(hidden), group), positions, self._layout
        )
        hidden = hidden + sum_over(attended, group)
        expanded = self.mlp(copy_to(self.post_attention_layernorm(hidden), group))
        return hidden + sum_over(expanded, group), positions


class FinalNorm(nn.Module):
    """The norm before the head; drops the positions, which nobody needs any more."""

    def __init__(self, shape: LlamaShape, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = RmsNorm(shape, dtype)

    def held(self) -> Iterator[Held]:
        """Yields its parameters."""
        yield Held(FINAL_NORM, self.norm.weight, None)

    def forward(self, inputs: Activations) -> torch.Tensor:
        """Returns (B, S, E)."""
        found: torch.Tensor = self.norm(inputs[0])
        return found
