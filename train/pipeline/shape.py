"""What a Llama is: sizes, rotary scaling, and which Hugging Face tensors it consists of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.model_folder import read_config

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "model.norm.weight"

ROPE_KINDS = ("default", "linear", "llama3")
"""Rotary position scalings that :mod:`train.pipeline.rope` knows."""


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding; the fields after ``theta`` as in Hugging Face's config.json.

    Args:
        kind: one of :data:`ROPE_KINDS`.
        theta: base of the frequencies.
        factor: by which ``linear`` and ``llama3`` stretch positions.
        low_freq_factor: ``llama3``: waves longer than the old context / this are stretched.
        high_freq_factor: ``llama3``: waves shorter than the old context / this are kept.
        original_positions: ``llama3``: the old context in tokens.
    """

    kind: str
    theta: float
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True)
class LlamaShape:
    """Sizes of a Llama, whole: nothing is divided by any parallelism."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_epsilon: float
    tied: bool
    """The head is the embedding."""
    rope: Rope

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Returns the whole shape of every tensor, in the order of the layers."""
        found: dict[str, tuple[int, ...]] = {EMBEDDING: (self.vocabulary, self.hidden)}
        for layer in range(self.layers):
            found |= {f"{layer_prefix(layer)}{k}": v for k, v in self.layer_tensors().items()}
        found[FINAL_NORM] = (self.hidden,)
        if not self.tied:
            found[HEAD] = (self.vocabulary, self.hidden)
        return found

    def layer_tensors(self) -> dict[str, tuple[int, ...]]:
        """Returns the whole shapes of one layer's tensors, without the layer's prefix."""
        query, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "input_layernorm.weight": (self.hidden,),
            "self_attn.q_proj.weight": (query, self.hidden),
            "self_attn.k_proj.weight": (keys, self.hidden),
            "self_attn.v_proj.weight": (keys, self.hidden),
            "self_attn.o_proj.weight": (self.hidden, query),
            "post_attention_layernorm.weight": (self.hidden,),
            "mlp.gate_proj.weight": (self.intermediate, self.hidden),
            "mlp.up_proj.weight": (self.intermediate, self.hidden),
            "mlp.down_proj.weight": (self.hidden, self.intermediate),
        }

    def check_parallel(self, tensor_parallel: int, pipeline_parallel: int, where: str) -> None:
        """Checks that the model can be cut that way.

        Raises:
            InputError: it cannot.
        """
        cut = {
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocabulary,
        }
        for name, size in cut.items():
            if size % tensor_parallel:
                raise InputError(
                    f"tensor_parallel_size {tensor_parallel} does not divide the model's {name} "
                    f"{size}",
                    where=where,
                    remedy="choose a tensor_parallel_size that divides heads, key-value heads, "
                    "intermediate size and vocabulary",
                )
        if self.layers < pipeline_parallel:
            raise InputError(
                f"pipeline_parallel_size {pipeline_parallel} is more than the model's "
                f"{self.layers} layers",
                where=where,
                remedy="a pipeline stage holds at least one layer: lower pipeline_parallel_size",
            )


def layer_prefix(layer: int) -> str:
    """Returns what Hugging Face puts before the names of a layer's tensors."""
    return f"model.layers.{layer}."


def read_shape(folder: Path) -> LlamaShape:
    """Returns the shape that a model folder's config.json states.

    Raises:
        InputError: it is not a Llama, or one with parts that these layers do not have.
    """
    raw = read_config(folder, str(folder))
    if raw.get("model_type") != "llama":
        raise _unsupported(folder, f"model_type is {raw.get('model_type')!r}, not 'llama'")
    from transformers import LlamaConfig

    try:
        # It knows older spellings too, such as rope_theta beside rope_scaling.
        config: Any = LlamaConfig.from_dict(dict(raw))
    except (ValueError, TypeError, KeyError) as error:
        raise _unsupported(folder, f"invalid values: {str(error).splitlines()[0]}") from error
    for name in ("attention_bias", "mlp_bias", "attention_dropout"):
        if getattr(config, name):
            raise _unsupported(folder, f"{name} is {getattr(config, name)}")
    if config.hidden_act != "silu":
        raise _unsupported(folder, f"hidden_act is {config.hidden_act!r}")
    return LlamaShape(
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        norm_epsilon=config.rms_norm_eps,
        tied=config.tie_word_embeddings,
        rope=_rope(config, folder),
    )


def _rope(config: Any, folder: Path) -> Rope:
    values = dict(config.rope_parameters)
    kind, theta = values.get("rope_type", "default"), float(values["rope_theta"])
    if kind not in ROPE_KINDS or values.get("partial_rotary_factor", 1.0) != 1.0:
        raise _unsupported(folder, f"rotary scaling {kind!r}, with {values}")
    if kind == "default":
        return Rope(kind, theta)
    if kind == "linear":
        return Rope(kind, theta, float(values["factor"]))
    return Rope(
        kind,
        theta,
        float(values["factor"]),
        float(values["low_freq_factor"]),
        float(values["high_freq_factor"]),
        int(values["original_max_position_embeddings"]),
    )


def _unsupported(folder: Path, what: str) -> InputError:
    return InputError(
        f"the pipeline engine does not train this model: {what}",
        where=f"{folder}/config.json",
        remedy="use a Llama (2, 3, 3.1, 3.3), or parallel.engine: zero",
    )
