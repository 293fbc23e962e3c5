"""Recipe section ``train``: base model, continued pretraining, fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.checkpoint import Checkpoint
from core.recipe.parallel import Parallel


class TinyModel(Section):
    """A small Llama made on the spot: random initialisation, BPE tokenizer from the corpus."""

    vocab_size: int = Field(2048, ge=300)
    """Tokenizer entries at most, special tokens included."""
    hidden_size: int = Field(128, ge=8)
    intermediate_size: int = Field(512, ge=8)
    num_hidden_layers: int = Field(4, ge=1)
    num_attention_heads: int = Field(4, ge=1)
    num_key_value_heads: int = Field(2, ge=1)
    max_position_embeddings: int = Field(512, ge=32)

    @model_validator(mode="after")
    def _divides(self) -> TinyModel:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        return self


class Base(Section):
    """The model that continued pretraining starts from: a path, or a tiny one made here."""

    path: str | None = None
    """Folder of a Hugging Face Llama (safetensors and tokenizer)."""
    tiny: TinyModel | None = None

    @model_validator(mode="after")
    def _one(self) -> Base:
        if (self.path is None) == (self.tiny is None):
            raise ValueError("give exactly one of 'path' and 'tiny'")
        return self


class Schedule(Section):
    """Learning rate over steps."""

    kind: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    """Quadratic warmup: the rate is peak * (step / warmup_steps)^2."""
    final_fraction: float = Field(0.1, ge=0.0, le=1.0)
    """``cosine`` ends at this fraction of the peak (10% in AstroMLab 3, Figure 2)."""


class Trainer(Section):
    """One training run. AstroSage-8B's values: AstroMLab 3, Tables 1 and 2."""

    init: str = "train.base"
    """Train stage (or model folder) whose weights it starts from."""
    epochs: float = Field(1.0, gt=0)
    global_batch_sequences: int = Field(8, ge=1)
    """Sequences per optimizer step over all workers."""
    micro_batch_size: int = Field(1, ge=1)
    """Sequences per forward pass of one worker."""
    num_workers: int = Field(1, ge=1)
    """Processes: one accelerator each, or one CPU. Data-parallel ranks, where ``parallel`` does not
    spread a copy of the model over several."""
    use_gpu: bool = False
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Schedule = Schedule()
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    adam_epsilon: float = Field(1e-5, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    zero_stage: Literal[1, 2, 3] = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    parallel: Parallel = Parallel()
    checkpoint: Checkpoint = Checkpoint()

    @property
    def data_parallel_size(self) -> int:
        """Copies of the model that share a global batch."""
        return self.num_workers // self.parallel.model_workers

    @model_validator(mode="after")
    def _divides(self) -> Trainer:
        if self.num_workers % self.parallel.model_workers:
            raise ValueError(
                f"num_workers {self.num_workers} is not a multiple of tensor_parallel_size "
                f"{self.parallel.tensor_parallel_size} x pipeline_parallel_size "
                f"{self.parallel.pipeline_parallel_size} = {self.parallel.model_workers}"
            )
        per_pass = self.micro_batch_size * self.data_parallel_size
        if self.global_batch_sequences % per_pass:
            raise ValueError(
                f"global_batch_sequences {self.global_batch_sequences} is not a multiple of "
                f"micro_batch_size {self.micro_batch_size} x data_parallel_size "
                f"{self.data_parallel_size} = {per_pass}"
            )
        return self


class Train(Section):
    """All training runs of a recipe."""

    base: Base
    scorer: Trainer = Trainer(epochs=2)
    """Trains the perplexity scorer where ``corpus.perplexity.engine`` is absent."""
    cpt: Trainer = Trainer()
    sft: Trainer = Trainer(init="train.cpt")
    instruct: Trainer = Trainer(init="train.cpt")
    """Stands for a general instruct model where the recipe merges one made here."""
