"""Recipe section ``train``: base model, continued pretraining, fine-tuning."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.checkpoint import Checkpoint
from core.recipe.evaluate import Evaluate
from core.recipe.parallel import Parallel
from core.recipe.watch import Tracking, Watch


class ModelShape(Section):
    """Sizes of a Llama, named as in its ``config.json``."""

    vocab_size: int = Field(2048, ge=300)
    """Tokenizer entries, special tokens included; of a tiny model at most so many."""
    hidden_size: int = Field(128, ge=8)
    """Width; a multiple of ``num_attention_heads``."""
    intermediate_size: int = Field(512, ge=8)
    """Width inside a layer's feed-forward part."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers."""
    num_attention_heads: int = Field(4, ge=1)
    """Attention heads; a multiple of ``num_key_value_heads``."""
    num_key_value_heads: int = Field(2, ge=1)
    """Heads that share keys and values (grouped-query attention)."""
    max_position_embeddings: int = Field(512, ge=32)
    """Longest context in tokens."""

    @model_validator(mode="after")
    def _divides(self) -> ModelShape:
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


class TinyModel(ModelShape):
    """A small Llama made on the spot: random initialisation, BPE tokenizer from the corpus."""


class Base(Section):
    """The model that continued pretraining starts from: a path, or a tiny one made here."""

    path: str | None = None
    """Folder of a Hugging Face Llama (safetensors and tokenizer)."""
    tiny: TinyModel | None = None
    shape: ModelShape | None = None
    """Sizes of the model at ``path``, for plans made before its files are there. Not read by any
    run: those go by the model's own ``config.json``."""

    @model_validator(mode="after")
    def _one(self) -> Base:
        if (self.path is None) == (self.tiny is None):
            raise ValueError("give exactly one of 'path' and 'tiny'")
        return self


class Schedule(Section):
    """Learning rate over steps: warmup, then constant or a cosine."""

    kind: Literal["constant", "cosine"] = "constant"
    """What follows the warmup."""
    warmup_steps: int = Field(0, ge=0)
    """Steps until the peak: 40 in AstroMLab 3, Table 1."""
    warmup_epochs: float | None = Field(None, gt=0)
    """The same in passes over the corpus: 0.15 in AstroMLab 4, section 2.1."""
    warmup_power: float = Field(2.0, gt=0)
    """The rate is peak * (step / warmup steps)^power: quadratic in AstroMLab 3, Table 1."""
    decay_epochs: float | None = Field(None, gt=0)
    """``cosine``: only the last so many passes decay, the rate is constant before: the final
    partial epoch in AstroMLab 4, Figure 2. Absent: all after the warmup."""
    final_fraction: float = Field(0.1, ge=0.0, le=1.0)
    """``cosine`` ends at this fraction of the peak (10% in AstroMLab 3, Figure 2)."""

    @model_validator(mode="after")
    def _one_warmup(self) -> Schedule:
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("give one of 'warmup_steps' and 'warmup_epochs'")
        if self.decay_epochs and self.kind == "constant":
            raise ValueError("'decay_epochs' needs kind: cosine")
        return self


class ReferenceRate(Section):
    """Another run's learning rate and batch: the rate per token is kept."""

    learning_rate: float = Field(gt=0)
    """The other run's peak."""
    global_batch_tokens: int = Field(ge=1)
    """The other run's tokens per optimizer step."""


class Trainer(Section):
    """One training run. AstroSage-8B's values: AstroMLab 3, Tables 1 and 2."""

    init: str = "train.base"
    """Train stage (or model folder) whose weights it starts from. Absent: ``sft`` and ``instruct``
    start from ``train.cpt``, ``control`` from ``train.sft``."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the data: 2 in AstroMLab 3, Table 1, 2.5 in AstroMLab 4, section 2.1."""
    global_batch_sequences: int = Field(8, ge=1)
    """Sequences per optimizer step over all workers."""
    global_batch_tokens: int | None = Field(None, ge=1)
    """The same in tokens instead: a multiple of the sequence length."""
    micro_batch_size: int = Field(1, ge=1)
    """Sequences per forward pass of one worker."""
    num_workers: int = Field(1, ge=1)
    """Processes: one accelerator each, or one CPU. Data-parallel ranks, where ``parallel`` does not
    spread a copy of the model over several."""
    use_gpu: bool = False
    """Each worker takes a GPU of the cluster; else a CPU."""
    learning_rate: float = Field(1e-4, gt=0)
    """The peak."""
    learning_rate_as_in: ReferenceRate | None = None
    """Instead of ``learning_rate``: the peak is this run's, times its own batch over that one's,
    which keeps the learning rate per token (AstroMLab 4, section 2.1)."""
    schedule: Schedule = Schedule()
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW: decay of the mean of gradients."""
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW: decay of the mean of their squares."""
    adam_epsilon: float = Field(1e-5, gt=0)
    """AdamW: added below the square root."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this L2 norm, taken over all parameters."""
    zero_stage: Literal[1, 2, 3] = 1
    """What ZeRO spreads over workers: 1 the optimizer's state, 2 gradients too, 3 weights too."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the arithmetic; with ``bfloat16`` the optimizer keeps float32 weights."""
    parallel: Parallel = Parallel()
    deterministic: bool = False
    """Only kernels that give the same bits each time: on accelerators slower, and an error where
    there is none. On CPUs runs repeat bit by bit anyway."""
    checkpoint: Checkpoint = Checkpoint()
    evaluate: Evaluate | None = None
    watch: Watch = Watch()
    tracking: Tracking = Tracking()
    plan_tokens: int | None = Field(None, ge=1)
    """Tokens of one epoch, for plans made before the data is there: 3.3 billion in AstroMLab 3,
    Table 1. Runs count their own."""

    @property
    def data_parallel_size(self) -> int:
        """Copies of the model that share a global batch."""
        return self.num_workers // self.parallel.model_workers

    def batch_sequences(self, sequence_length: int) -> int:
        """Returns the sequences of an optimizer step.

        Raises:
            ValueError: the batch in tokens is no whole number of sequences, or does not divide by
                what the workers take at once; the message has the numbers.
        """
        sequences = self.global_batch_sequences
        if self.global_batch_tokens is not None:
            sequences, rest = divmod(self.global_batch_tokens, sequence_length)
            if rest or not sequences:
                raise ValueError(
                    f"global_batch_tokens {self.global_batch_tokens:,} is not a multiple of "
                    f"sequence_length {sequence_length:,}: give "
                    f"{max(1, sequences) * sequence_length:,} or "
                    f"{(sequences + 1) * sequence_length:,}"
                )
        self._check_batch(sequences)
        return sequences

    def resolved(self, sequence_length: int) -> Trainer:
        """Returns the section with the batch in sequences and the learning rate as a number."""
        sequences = self.batch_sequences(sequence_length)
        rate, reference = self.learning_rate, self.learning_rate_as_in
        if reference is not None:
            tokens = sequences * sequence_length
            rate = reference.learning_rate * tokens / reference.global_batch_tokens
        return self.model_copy(
            update={
                "global_batch_sequences": sequences,
                "global_batch_tokens": None,
                "learning_rate": rate,
                "learning_rate_as_in": None,
            }
        )

    def _check_batch(self, sequences: int) -> None:
        per_pass = self.micro_batch_size * self.data_parallel_size
        if sequences % per_pass:
            raise ValueError(
                f"global_batch_sequences {sequences} is not a multiple of "
                f"micro_batch_size {self.micro_batch_size} x data_parallel_size "
                f"{self.data_parallel_size} = {per_pass}: give "
                f"{max(1, sequences // per_pass) * per_pass} or "
                f"{(sequences // per_pass + 1) * per_pass}"
            )

    @model_validator(mode="after")
    def _divides(self) -> Trainer:
        given = self.model_fields_set
        if self.num_workers % self.parallel.model_workers:
            raise ValueError(
                f"num_workers {self.num_workers} is not a multiple of tensor_parallel_size "
                f"{self.parallel.tensor_parallel_size} x pipeline_parallel_size "
                f"{self.parallel.pipeline_parallel_size} = {self.parallel.model_workers}"
            )
        if self.parallel.engine == "pipeline" and self.zero_stage != 1:
            raise ValueError(
                f"engine: pipeline has ZeRO stage 1, not {self.zero_stage}: set zero_stage: 1; "
                "tensor and pipeline parallelism spread the weights"
            )
        if self.global_batch_tokens and "global_batch_sequences" in given:
            raise ValueError("give one of 'global_batch_sequences' and 'global_batch_tokens'")
        if self.learning_rate_as_in and "learning_rate" in given:
            raise ValueError("give one of 'learning_rate' and 'learning_rate_as_in'")
        if self.global_batch_tokens is None:
            self._check_batch(self.global_batch_sequences)
        return self


_STARTS = {"sft": "train.cpt", "instruct": "train.cpt", "control": "train.sft"}
"""What a run starts from where its section does not say; the others from ``train.base``."""


class Train(Section):
    """All training runs of a recipe."""

    base: Base
    scorer: Trainer = Trainer(epochs=2)
    """Trains the perplexity scorer where ``corpus.perplexity.engine`` is absent."""
    cpt: Trainer = Trainer()
    sft: Trainer = Trainer(init="train.cpt")
    instruct: Trainer = Trainer(init="train.cpt")
    """Stands for a general instruct model where the recipe merges one made here."""
    control: Trainer = Trainer(init="train.sft")
    """The control experiment of AstroMLab 3, section IV: tuned on ``synth.control``."""

    @model_validator(mode="before")
    @classmethod
    def _starts(cls, data: Any) -> Any:
        # A section that is given replaces its default as a whole, and must not lose the start.
        if not isinstance(data, dict):
            return data
        given = {run: data[run] for run in _STARTS if isinstance(data.get(run), dict)}
        return {**data, **{run: {"init": _STARTS[run], **given[run]} for run in given}}
