"""The ``zero`` engine: DeepSpeed ZeRO 1, 2 or 3 over a Hugging Face Llama, on CPUs or GPUs.

ZeRO shards optimizer state (1), gradients (2) and parameters (3) over data-parallel workers. The
AstroSage runs used FSDP full shard (AstroMLab 3, Table 1), which is stage 3 here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from core.recipe.train import Trainer
from train.data import MicroBatch
from train.engine import (
    STATE_KINDS,
    ReadState,
    StateFragment,
    StepResult,
    TrainEngine,
    summed_loss,
)
from train.weights import ModelWeights, empty_model, fill, fill_by_module, write_model

_MAX_BUCKET_NUMBERS = 500_000_000
"""DeepSpeed's default bucket; a small model must not allocate 2 GB for it."""

_MASTER_WEIGHTS = (
    "fp32_partitioned_groups_flat",  # stage 3
    "single_partition_of_fp32_groups",  # stages 1 and 2
    "fp32_groups_flat_partition",  # stage 1 in bfloat16 with float32 accumulation
)
"""Where DeepSpeed's optimizers keep a worker's part of the float32 weights."""


def zero_config(section: Trainer, parameters: int) -> dict[str, Any]:
    """Returns the DeepSpeed configuration of a training section."""
    per_pass = section.micro_batch_size * section.data_parallel_size
    bucket = min(_MAX_BUCKET_NUMBERS, max(parameters, 1))
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": section.micro_batch_size,
        "gradient_accumulation_steps": section.global_batch_sequences // per_pass,
        "gradient_clipping": section.max_grad_norm,
        "zero_optimization": {
            "stage": section.zero_stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        },
        "zero_allow_untested_optimizer": True,
    }
    if section.dtype == "bfloat16":
        config["bf16"] = {"enabled": True}
        # Sums of many micro batches lose their small terms in bfloat16.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns AdamW parameter groups: matrices decay, norms and biases do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if len(_shape(p)) >= 2]
    vectors = [p for p in trained if len(_shape(p)) < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _shape(parameter: torch.nn.Parameter) -> tuple[int, ...]:
    """Returns the shape of the whole parameter, which a rank of stage 3 does not hold."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


@dataclass(frozen=True)
class _Place:
    """Where this rank keeps its part of a parameter.

    Args:
        group: which of the float32 tensors holds it.
        offset: where it begins there.
        start: where it begins in the flattened parameter.
        length: numbers; none of them padding.
    """

    group: int
    offset: int
    start: int
    length: int


class ZeroEngine(TrainEngine):
    """DeepSpeed ZeRO. The process group must be open (Ray Train opens it)."""

    def __init__(self, model_folder: Path, section: Trainer) -> None:
        """Loads the model and hands it to DeepSpeed.

        Args:
            model_folder: a Hugging Face causal language model in safetensors.
            section: batch sizes, optimizer, ZeRO stage and dtype.

        Raises:
            InputError: the weights do not fit the configuration.
        """
        deepspeed = import_deepspeed(section.use_gpu)
        self._deepspeed = deepspeed
        self._stage = section.zero_stage
        self._world_size = self.data_size = distributed.get_world_size()
        self.data_rank = distributed.get_rank()
        dtype = torch.bfloat16 if section.dtype == "bfloat16" else torch.float32
        self._model = model = load_model(model_folder, dtype, spread=section.zero_stage == 3)
        self.parameters = sum(math.prod(_shape(p)) for p in model.parameters() if p.requires_grad)
        self.vocabulary = int(model.config.vocab_size)
        model.config.use_cache = False
        if section.parallel.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        # PyTorch's optimizer rather than DeepSpeed's: nothing is compiled at start.
        optimizer = torch.optim.AdamW(
            decay_groups(model, section.weight_decay),
            lr=section.learning_rate,
            betas=(section.adam_beta1, section.adam_beta2),
            eps=section.adam_epsilon,
        )
        self._engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            config=zero_config(section, self.parameters),
            dist_init_required=False,
        )
        self._engine.train()

    def step(self, micro_batches: Sequence[MicroBatch], learning_rate: float) -> StepResult:
        """Trains on this worker's share of a global batch."""
        engine, device = self._engine, self._engine.device
        counted = torch.tensor([sum(b.trained_tokens for b in micro_batches)], device=device)
        distributed.all_reduce(counted)
        tokens = int(counted)
        for group in engine.optimizer.param_groups:
            group["lr"] = learning_rate
        before = [part.detach().clone() for part in self._master_parts()]
        summed = torch.zeros(1, dtype=torch.float64, device=device)
        for batch in micro_batches:
            loss = summed_loss(self._logits(batch), batch.labels.to(device))
            summed += loss.detach().double()
            # DeepSpeed averages gradients over workers: times world size makes that a sum.
            engine.backward(loss * (self._world_size / max(tokens, 1)), scale_wrt_gas=False)
            engine.step()
        moved = torch.zeros(1, dtype=torch.float64, device=device)
        for old, new in zip(before, self._master_parts(), strict=True):
            moved += (new.detach() - old).double().square().sum()
        sums = torch.cat([summed, moved])
        distributed.all_reduce(sums)
        return StepResult(
            loss=float(sums[0]) / max(tokens, 1),
            grad_norm=float(engine.get_global_grad_norm()),
            update_norm=float(sums[1]) ** 0.5,
            tokens=tokens,
        )

    @torch.no_grad()
    def evaluate(self, micro_batches: Sequence[MicroBatch]) -> tuple[float, int]:
        """Returns the summed loss of all workers' batches, and its tokens."""
        engine, device = self._engine, self._engine.device
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        engine.eval()
        for batch in micro_batches:
            sums[0] += summed_loss(self._logits(batch), batch.labels.to(device)).double()
            sums[1] += batch.trained_tokens
        engine.train()
        distributed.all_reduce(sums)
        return float(sums[0]), int(sums[1])

    def _logits(self, batch: MicroBatch) -> torch.Tensor:
        """Runs the model; (B, L, V)."""
        engine, device = self._engine, self._engine.device
        # No attention mask: restarting positions alone keep packed documents apart.
        found: torch.Tensor = engine(
            input_ids=batch.input_ids.to(device),
            position_ids=batch.position_ids.to(device),
            use_cache=False,
        ).logits
        return found

    def save(self, folder: Path) -> None:
        """Writes config and safetensors of the whole model; only rank 0 touches the disk."""
        # Tied weights come once; loading ties them again.
        parameters = dict(self._model.named_parameters())
        if distributed.get_rank() == 0:
            sizes = {n: math.prod(_shape(p)) * p.element_size() for n, p in parameters.items()}
            self._model.config.use_cache = True
            self._model.config.architectures = [type(self._model).__name__]
            write_model(folder, self._model.config, sizes, self._whole(parameters))
        else:
            for _ in self._whole(parameters):
                pass
        distributed.barrier()

    def _whole(
        self, parameters: dict[str, torch.nn.Parameter]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields whole parameters, on rank 0 with their values. Every rank must go through all."""
        for name, parameter in parameters.items():
            # Parameters are whole below stage 3, where the context manager does nothing.
            with self._deepspeed.zero.GatheredParameters([parameter]):
                if distributed.get_rank() == 0:
                    value = parameter.detach().cpu().clone()
            yield name, value if distributed.get_rank() == 0 else torch.empty(0)

    def fragments(self) -> Iterator[StateFragment]:
        """Yields this rank's part of the state as views."""
        parts, state = self._master_parts(), self._engine.optimizer.optimizer.state
        for name, parameter in self._model.named_parameters():
            place = self._place(parameter)
            if place is None:
                continue
            part = parts[place.group]
            values = {"weight": part.detach(), **state[part]}
            run = slice(place.offset, place.offset + place.length)
            yield StateFragment(
                name=name,
                shape=_shape(parameter),
                slice_dim=None,
                slice_index=0,
                slice_count=1,
                start=place.start,
                values={kind: values[kind][run] for kind in STATE_KINDS},
            )

    def load_fragments(self, read: ReadState, step: int) -> None:
        """Takes this rank's part of a saved state; reads nothing else of it."""
        state = self._engine.optimizer.optimizer.state
        for part in self._master_parts():
            # PyTorch makes this on the first step; here there has been one.
            state[part] = {
                "step": torch.tensor(float(step)),
                "exp_avg": torch.zeros_like(part),
                "exp_avg_sq": torch.zeros_like(part),
            }
        for fragment in self.fragments():
            for kind, values in fragment.values.items():
                values.copy_(read.part(fragment.name, kind, fragment.start, len(values)))
        self._copy_to_compute_weights()

    def _place(self, parameter: Any) -> _Place | None:
        """Returns where DeepSpeed keeps this rank's part, or None where it has none."""
        optimizer = self._engine.optimizer
        if self._stage == 3:
            group, offset, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
            start = distributed.get_rank() * length
            length = min(length, math.prod(_shape(parameter)) - start)
            return _Place(group, offset, start, length) if length > 0 else None
        link = parameter._hp_mapping
        if link is None:
            return None
        inside, outside = link.hp_fragment_address, link.lp_fragment_address
        return _Place(link.param_group_index, inside.start, outside.start, outside.numel)

    def _copy_to_compute_weights(self) -> None:
        """Makes the weights of the forward pass from the float32 ones, as DeepSpeed's loader."""
        optimizer = self._engine.optimizer
        if self._stage < 3:
            optimizer.update_lp_params()
            return
        flats = optimizer.fp16_partitioned_groups_flat
        for target, source in zip(flats, self._master_parts(), strict=True):
            target.data.copy_(source.data)
        if optimizer.persistent_parameters:
            # Small parameters stay gathered between steps: they are gathered anew.
            optimizer.persistent_parameters[0].partition(optimizer.persistent_parameters)
            optimizer.persistent_parameters[0].all_gather(optimizer.persistent_parameters)

    def _master_parts(self) -> list[torch.Tensor]:
        """This worker's part of the float32 weights; the parts of all workers make the model."""
        for name in _MASTER_WEIGHTS:
            parts = getattr(self._engine.optimizer, name, None)
            if parts is not None:
                return list(parts)
        raise AttributeError("DeepSpeed's optimizer keeps its float32 weights under a new name")


def load_model(folder: Path, dtype: torch.dtype, spread: bool) -> Any:
    """Returns the model of a folder on this rank.

    Args:
        folder: a Hugging Face model.
        dtype: of the weights.
        spread: parameters are spread over all ranks as they are read (ZeRO stage 3): rank 0
            reads, and no rank holds more than its share and one tensor.
    """
    model = empty_model(folder, dtype)
    weights = ModelWeights(folder)
    if not spread:
        fill(model, weights.read)
        return model
    import deepspeed

    def read(name: str, into: torch.Tensor) -> None:
        # The others get the values by the broadcast with which DeepSpeed spreads a parameter.
        if distributed.get_rank() == 0:
            weights.read(name, into)

    def spread_module(module: torch.nn.Module) -> None:
        deepspeed.zero.Init(module=module, dtype=dtype)

    fill_by_module(model, dtype, read, spread_module)
    return model


def import_deepspeed(use_gpu: bool) -> Any:
    """Returns DeepSpeed, set up to compile nothing; on CPUs where the recipe says so."""
    if not use_gpu:
        # DeepSpeed would take a GPU that it sees, whatever the recipe says.
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops

    # What it can compile here; looking runs compilers for seconds. With nothing to choose from it
    # leaves its shared-memory all-reduce alone, which takes minutes to build, and uses gloo.
    deepspeed.ops.__compatible_ops__ = {}
    return deepspeed
