"""What a training run takes, before it is started: memory of a rank, steps, tokens, arithmetic.

The memory model counts what the engines hold (:mod:`train.zero`, :mod:`train.pipeline`):

* weights in the compute dtype, gradients in float32 sums (bfloat16 runs) or the compute dtype,
  the optimizer's float32 weights (bfloat16 runs) and two Adam moments: Rajbhandari et al. 2020
  ("ZeRO"), section 3.1; each spread over the ranks that the stage spreads it over;
* activations of a layer per token: Korthikanti et al. 2022 ("Reducing Activation Recomputation"),
  section 4.1, for a Llama layer without dropout and with attention that keeps no score matrix;
* the logits of a micro batch, which a vocabulary of 128,256 makes the largest tensor;
* with ZeRO stage 3 the weights that are gathered at a time: two layers, or the embeddings.

It leaves out the allocator's fragments, communication buffers and the framework itself:
:data:`OVERHEAD_BYTES` stands for these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.model_folder import read_config
from core.recipe.train import ModelShape, Trainer

OVERHEAD_BYTES = 2 * 2**30
"""Context of the device, its kernels, communication buffers."""

HOST_OVERHEAD_BYTES = 2**30
"""The same of a worker without a device: PyTorch, DeepSpeed and Ray take 0.7 GiB."""

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class ModelSize:
    """Trainable numbers of a Llama.

    Args:
        embedding: input embeddings; the output head has as many where it is not tied.
        layer: one decoder layer.
        layers: decoder layers.
        head: output head, 0 where tied, and the last norm.
    """

    embedding: int
    layer: int
    layers: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.layers * self.layer + self.head


@dataclass(frozen=True)
class RankMemory:
    """Peak bytes of the fullest rank."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int = OVERHEAD_BYTES

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.logits
            + self.overhead
        )


@dataclass(frozen=True)
class Plan:
    """A run in numbers.

    Args:
        size: of the model.
        memory: of the fullest rank.
        data_parallel_size: copies of the model.
        batch_sequences: sequences of an optimizer step.
        accumulation: micro batches of a rank in a step.
        batch_tokens: tokens of an optimizer step.
        steps: optimizer steps; None where the tokens of an epoch are not known.
        steps_per_epoch: of them in one pass.
        tokens: trained on, repeats counted.
        flop: floating-point operations of the whole run, recomputation not counted.
    """

    size: ModelSize
    memory: RankMemory
    data_parallel_size: int
    batch_sequences: int
    accumulation: int
    batch_tokens: int
    steps: int | None
    steps_per_epoch: float | None
    tokens: int | None
    flop: float | None


def shape_of(folder: Path) -> tuple[ModelShape, bool]:
    """Returns a model's sizes by its ``config.json``, and whether embeddings and head are tied.

    Raises:
        InputError: there is no readable one.
    """
    config: dict[str, Any] = read_config(folder, str(folder))
    known = {name: config[name] for name in ModelShape.model_fields if config.get(name)}
    # Models from before grouped queries do not name their key-value heads.
    known.setdefault("num_key_value_heads", known.get("num_attention_heads"))
    # Not validated: the bounds of a recipe are for models made from it.
    return ModelShape.model_construct(**known), bool(config.get("tie_word_embeddings"))


def model_size(shape: ModelShape, tied: bool = False) -> ModelSize:
    """Returns the parameters of a Llama of a shape, as Hugging Face's has them.

    Args:
        shape: its sizes.
        tied: input embeddings and output head are the same.
    """
    hidden, head = shape.hidden_size, shape.hidden_size // shape.num_attention_heads
    attention = hidden * head * 2 * (shape.num_attention_heads + shape.num_key_value_heads)
    layer = attention + 3 * hidden * shape.intermediate_size + 2 * hidden
    embedding = shape.vocab_size * hidden
    return ModelSize(embedding, layer, shape.num_hidden_layers, hidden + (0 if tied else embedding))


def rank_memory(
    shape: ModelShape, section: Trainer, sequence_length: int, tied: bool = False
) -> RankMemory:
    """Returns the peak memory of the fullest rank.

    Args:
        shape: of the model.
        section: of the run.
        sequence_length: tokens.
        tied: input embeddings and output head are the same.
    """
    size = model_size(shape, tied)
    parallel = section.parallel
    tensor, stages = parallel.tensor_parallel_size, parallel.pipeline_parallel_size
    layers = math.ceil(size.layers / stages)
    # The fullest pipeline stage is an end: it has the embeddings or the head, too.
    ends = size.embedding + size.head if stages == 1 else max(size.embedding, size.head)
    held = (layers * size.layer + ends) / tensor
    data = section.data_parallel_size
    stage = section.zero_stage if parallel.engine == "zero" else 1
    compute = _DTYPE_BYTES[section.dtype]
    mixed = section.dtype == "bfloat16"
    weights = held * compute / (data if stage >= 3 else 1)
    gradients = held * 4 / (data if stage >= 2 else 1)
    if stage >= 3:
        weights += max(2 * size.layer, size.embedding) * compute
    optimizer = held * (12 if mixed else 8) / data
    activations, logits = _activations(shape, section, sequence_length, layers)
    return RankMemory(
        round(weights),
        round(gradients),
        round(optimizer),
        round(activations),
        round(logits),
        OVERHEAD_BYTES if section.use_gpu else HOST_OVERHEAD_BYTES,
    )


def _activations(
    shape: ModelShape, section: Trainer, sequence_length: int, layers: int
) -> tuple[float, float]:
    """Returns the bytes of activations and of logits at their peak."""
    parallel = section.parallel
    tensor, stages = parallel.tensor_parallel_size, parallel.pipeline_parallel_size
    tokens = section.micro_batch_size * sequence_length
    compute = _DTYPE_BYTES[section.dtype]
    hidden, inner = shape.hidden_size, shape.intermediate_size
    keys = hidden * shape.num_key_value_heads // shape.num_attention_heads
    # Kept for the backward pass. Whole on each tensor-parallel rank: the inputs of both norms and
    # the normed ones. Cut: queries, keys, values, the attention's output; gate, up, their product.
    whole = 4 * hidden
    cut = (2 * hidden + 2 * keys + 4 * inner) / tensor
    layer = tokens * (whole + cut) * compute
    # One forward after another fills a pipeline: the first stage holds a micro batch per stage.
    in_flight = stages
    if parallel.activation_checkpointing:
        inputs = layers * tokens * hidden * compute * in_flight
        kept = inputs + layer
    else:
        kept = layers * layer * in_flight
    # Logits and their gradient in the compute dtype; log-probabilities and gradient in float32.
    logits = tokens * shape.vocab_size / tensor * (2 * compute + 8)
    return kept, logits


def flop_per_token(shape: ModelShape, sequence_length: int, tied: bool = False) -> float:
    """Returns the floating-point operations per trained token, forward and backward.

    Six per parameter that is multiplied (the input embeddings are looked up, not multiplied) and
    the attention's 6 * layers * length * hidden, half of the square since it is causal: Chowdhery
    et al. 2022 ("PaLM"), appendix B.
    """
    size = model_size(shape, tied)
    multiplied = size.total - (0 if tied else size.embedding)
    return 6.0 * multiplied + 6.0 * size.layers * sequence_length * shape.hidden_size


def plan_run(
    shape: ModelShape,
    section: Trainer,
    sequence_length: int,
    sequences: int | None = None,
    tied: bool = False,
) -> Plan:
    """Returns a run in numbers.

    Args:
        shape: of the model.
        section: of the run.
        sequence_length: tokens.
        sequences: of one epoch; by default ``plan_tokens`` of the section, where it is given.
        tied: input embeddings and output head are the same.
    """
    batch = section.batch_sequences(sequence_length)
    if sequences is None and section.plan_tokens is not None:
        sequences = math.ceil(section.plan_tokens / sequence_length)
    steps = tokens = flop = per_epoch = None
    if sequences is not None:
        samples = max(1, math.ceil(section.epochs * sequences - 1e-6))
        steps = -(-samples // batch)
        per_epoch = sequences / batch
        tokens = samples * sequence_length
        flop = tokens * flop_per_token(shape, sequence_length, tied)
    return Plan(
        size=model_size(shape, tied),
        memory=rank_memory(shape, section, sequence_length, tied),
        data_parallel_size=section.data_parallel_size,
        batch_sequences=batch,
        accumulation=batch // (section.micro_batch_size * section.data_parallel_size),
        batch_tokens=batch * sequence_length,
        steps=steps,
        steps_per_epoch=per_epoch,
        tokens=tokens,
        flop=flop,
    )
