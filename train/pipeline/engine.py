"""The ``pipeline`` engine: DeepSpeed's pipeline over our tensor-parallel Llama, with ZeRO-1."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from core.recipe.train import Trainer
from train.data import IGNORE, MicroBatch
from train.engine import ReadState, StateFragment, StepResult, TrainEngine
from train.pipeline.reading import check_tensors, read_weights
from train.pipeline.shape import read_shape
from train.pipeline.stages import held_by, layer_specs, stage_tensors
from train.pipeline.tensor_parallel import Held, TensorGroup
from train.pipeline.vocab import vocab_parallel_cross_entropy
from train.pipeline.writing import plan_files, write_folder, write_weights
from train.zero import decay_groups

_MAX_BUCKET_NUMBERS = 500_000_000
"""DeepSpeed's default bucket; a small model must not allocate 2 GB for it."""


def pipeline_config(section: Trainer, parameters: int) -> dict[str, Any]:
    """Returns the DeepSpeed configuration of a training section.

    Args:
        section: of the recipe.
        parameters: numbers that this worker holds.
    """
    per_pass = section.micro_batch_size * section.data_parallel_size
    bucket = max(2, min(_MAX_BUCKET_NUMBERS, parameters))
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": section.micro_batch_size,
        "gradient_accumulation_steps": section.global_batch_sequences // per_pass,
        "gradient_clipping": section.max_grad_norm,
        "zero_optimization": {
            "stage": 1,  # DeepSpeed's pipeline takes no higher one
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket + bucket % 2,  # DeepSpeed wants it even
        },
        "zero_allow_untested_optimizer": True,
        "pipeline": {
            "use_reentrant": False,  # the other kind loses the first layer's gradient
            "activation_checkpoint_interval": int(section.parallel.activation_checkpointing),
        },
        "steps_per_print": sys.maxsize,
    }
    if section.dtype == "bfloat16":
        config["bf16"] = {"enabled": True}
        # Sums of many micro batches lose their small terms in bfloat16.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


@dataclass(frozen=True)
class _Fragment:
    """The run of one parameter's float32 numbers that this worker's optimizer keeps."""

    held: Held
    flat: torch.Tensor
    """The optimizer's own tensor, of which ``values`` are a part."""
    flat_start: int
    start: int
    """Of ``values`` within the flattened parameter."""
    values: torch.Tensor
    counted: bool
    """False where another worker of the same copy keeps the same numbers."""


class PipelineEngine(TrainEngine):
    """DeepSpeed's pipeline. The process group must be open (Ray Train opens it)."""

    def __init__(self, model_folder: Path, section: Trainer) -> None:
        """Builds this worker's part of the model and reads its weights.

        Args:
            model_folder: a Hugging Face Llama.
            section: batch sizes, optimizer, dtype and how the model is spread.

        Raises:
            InputError: the model is not one that these layers make, or cannot be cut that way.
        """
        self._folder = model_folder
        parallel = section.parallel
        self._shape = read_shape(model_folder)
        self._shape.check_parallel(
            parallel.tensor_parallel_size, parallel.pipeline_parallel_size, str(model_folder)
        )
        # Headers only, on every worker: a broken folder is the same error everywhere.
        stored = check_tensors(model_folder, self._shape)
        self._dtype = torch.float32 if section.dtype == "float32" else torch.bfloat16
        self._micro_batches = section.global_batch_sequences // (
            section.micro_batch_size * section.data_parallel_size
        )
        deepspeed = _start_deepspeed(section.use_gpu)
        # DeepSpeed prints its layers, and exchanges tied weights as if they were trained by it.
        with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            module = self._build(section)
        self._module, grid = module, module.mpu()
        self._data_group = grid.get_data_parallel_group()
        self.data_rank, self.data_size = grid.get_data_parallel_id(), section.data_parallel_size
        self._held = list(held_by(module))
        if self.data_rank == 0:
            # DeepSpeed hands it on to the other copies: files are read once, not once per copy.
            read_weights(stored, self._held, self._tensor_group)
        shapes = self._shape.tensors()
        self.parameters = sum(math.prod(size) for size in shapes.values())
        self.vocabulary = self._shape.vocabulary
        self._engine = self._initialize(deepspeed, section)
        self._fragments = list(self._find_fragments())

    def _build(self, section: Trainer) -> Any:
        from deepspeed.pipe import PipelineModule
        from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

        parallel = section.parallel
        topology = PipeModelDataParallelTopology(
            num_pp=parallel.pipeline_parallel_size,
            num_mp=parallel.tensor_parallel_size,
            num_dp=section.data_parallel_size,
        )
        self._tensor_group = _tensor_group(topology, parallel.tensor_parallel_size)
        return PipelineModule(
            layer_specs(self._shape, self._tensor_group, self._dtype),
            topology=topology,
            loss_fn=self._loss,
            partition_method="type:Block",
            # Not the head: its logits would be computed twice.
            checkpointable_layers=["Block"],
        )

    def _initialize(self, deepspeed: Any, section: Trainer) -> Any:
        # PyTorch's optimizer rather than DeepSpeed's: nothing is compiled at start.
        optimizer = torch.optim.AdamW(
            decay_groups(self._module, section.weight_decay),
            lr=section.learning_rate,
            betas=(section.adam_beta1, section.adam_beta2),
            eps=section.adam_epsilon,
        )
        numbers = sum(p.numel() for p in self._module.parameters())
        engine, *_ = deepspeed.initialize(
            model=self._module,
            optimizer=optimizer,
            config=pipeline_config(section, numbers),
            dist_init_required=False,
        )
        return engine

    def _loss(
        self, logits: torch.Tensor, labels: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        targets, scale = labels
        summed = vocab_parallel_cross_entropy(
            logits.flatten(0, 1), targets.flatten(), self._tensor_group
        )
        return summed * scale

    def step(self, micro_batches: Sequence[MicroBatch], learning_rate: float) -> StepResult:
        """Trains on this copy's share of a global batch; all workers of a copy get the same."""
        if len(micro_batches) != self._micro_batches:
            raise ValueError(f"{len(micro_batches)} micro batches, not {self._micro_batches}")
        counted = torch.tensor(
            [sum(b.trained_tokens for b in micro_batches)], device=self._engine.device
        )
        distributed.all_reduce(counted, group=self._data_group)
        tokens = int(counted)
        # DeepSpeed averages over micro batches and copies: times their number makes that a sum.
        scale = torch.tensor(self._micro_batches * self.data_size / max(tokens, 1))
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        mine = [part.values for part in self._fragments if part.counted]
        before = [values.detach().clone() for values in mine]
        loss = self._engine.train_batch(iter([_pipe_batch(b, scale) for b in micro_batches]))
        moved = torch.zeros(1, dtype=torch.float64, device=self._engine.device)
        for old, new in zip(before, mine, strict=True):
            moved += (new.detach() - old).double().square().sum()
        distributed.all_reduce(moved)
        return StepResult(
            loss=float(loss),
            grad_norm=float(self._engine.get_global_grad_norm()),
            update_norm=float(moved) ** 0.5,
            tokens=tokens,
        )

    def evaluate(self, micro_batches: Sequence[MicroBatch]) -> tuple[float, int]:
        """Returns the summed loss and its tokens; all workers of a copy give the same batches."""
        one, device = torch.ones(()), self._engine.device
        # Not DeepSpeed's mean over micro batches and copies: a sum in float64 is more exact.
        losses = self._engine.eval_batch(
            iter([_pipe_batch(b, one) for b in micro_batches]),
            reduce_output=None,
            bcast_loss=False,
            num_micro_batches=len(micro_batches),
        )
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        if self._engine.is_last_stage() and self._tensor_group.rank == 0:
            sums[0] = torch.stack(losses).double().sum()
            sums[1] = sum(b.trained_tokens for b in micro_batches)
        distributed.all_reduce(sums)
        return float(sums[0]), int(sums[1])

    def save(self, folder: Path) -> None:
        """Writes config and safetensors of the whole model; the leader of each stage writes."""
        folder.mkdir(parents=True, exist_ok=True)
        shapes = self._shape.tensors()
        stages = stage_tensors(self._shape, self._module.parts)
        files = plan_files(stages, shapes, self._dtype.itemsize)
        if self.data_rank == 0:
            write_weights(folder, files, self._module.stage_id, self._held, self._tensor_group)
        if distributed.get_rank() == 0:
            write_folder(self._folder, folder, files, shapes, self._dtype)
        distributed.barrier()

    def fragments(self) -> Iterator[StateFragment]:
        """Yields this worker's part of the state; what several hold, only one of them yields."""
        for part in self._fragments:
            if part.counted:
                yield self._state_fragment(part)

    def _state_fragment(self, part: _Fragment) -> StateFragment:
        slice_dim, index, count = self._cut(part.held) or (None, 0, 1)
        state = self._optimizer.state.get(part.flat, {})
        run = slice(part.flat_start, part.flat_start + part.values.numel())
        values = {"weight": part.values.detach()}
        for kind in ("exp_avg", "exp_avg_sq"):
            # Before the first step AdamW has no moments yet: they start at zero.
            values[kind] = state[kind][run] if kind in state else torch.zeros_like(values["weight"])
        return StateFragment(
            name=part.held.name,
            shape=part.held.whole_shape(count),
            slice_dim=slice_dim,
            slice_index=index,
            slice_count=count,
            start=part.start,
            values=values,
        )

    @torch.no_grad()
    def load_fragments(self, read: ReadState, step: int) -> None:
        """Takes this worker's part of a saved state."""
        for flat in {id(part.flat): part.flat for part in self._fragments}.values():
            state = self._optimizer.state[flat]
            state["step"] = torch.tensor(float(step))
            for kind in ("exp_avg", "exp_avg_sq"):
                state.setdefault(kind, torch.zeros_like(flat))
        for part in self._fragments:
            state, count = self._optimizer.state[part.flat], part.values.numel()
            run = slice(part.flat_start, part.flat_start + count)
            targets = {"weight": part.values}
            targets |= {kind: state[kind][run] for kind in ("exp_avg", "exp_avg_sq")}
            cut = self._cut(part.held)
            for kind, target in targets.items():
                target.copy_(read.part(part.held.name, kind, part.start, count, cut))
        self._engine.optimizer.update_lp_params()

    def _cut(self, held: Held) -> tuple[int, int, int] | None:
        """Returns dimension, index and number of the slice; None: it is whole."""
        group = self._tensor_group
        if held.slice_dim is None or group.size == 1:
            return None
        return held.slice_dim, group.rank, group.size

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = self._engine.optimizer.optimizer
        return found

    def _find_fragments(self) -> Iterator[_Fragment]:
        for held in self._held:
            parameter: Any = held.parameter
            mapping = parameter._hp_mapping
            if mapping is None:  # all of it is another worker's
                continue
            address = mapping.hp_fragment_address
            flat = self._optimizer.param_groups[mapping.param_group_index]["params"][0]
            first = held.slice_dim is not None or self._tensor_group.rank == 0
            yield _Fragment(
                held=held,
                flat=flat,
                flat_start=address.start,
                start=mapping.lp_fragment_address.start,
                values=mapping.hp_fragment,
                # Of a tied matrix the stage with the embedding counts.
                counted=first and not parameter.ds_pipe_replicated,
            )


def _pipe_batch(batch: MicroBatch, scale: torch.Tensor) -> tuple[Any, Any]:
    """Returns what the first stage eats and what the last one's loss does."""
    targets = torch.full_like(batch.labels, IGNORE)
    targets[:, :-1] = batch.labels[:, 1:]
    return (batch.input_ids, batch.position_ids), (targets, scale)


def _tensor_group(topology: Any, size: int) -> TensorGroup:
    if size == 1:
        return TensorGroup()
    mine, rank = None, distributed.get_rank()
    for ranks in topology.get_axis_comm_lists("model"):
        # Every worker takes part in making every group.
        group = distributed.new_group(ranks)
        if rank in ranks:
            mine = TensorGroup(group, ranks.index(rank), size)
    assert mine is not None
    return mine


def _start_deepspeed(use_gpu: bool) -> Any:
    from train.zero import import_deepspeed

    deepspeed = import_deepspeed(use_gpu)
    # Ray Train sets it; a lone process need not.
    os.environ.setdefault("LOCAL_RANK", "0")
    deepspeed.utils.logger.setLevel(logging.WARNING)
    deepspeed.init_distributed(dist_init_required=False)
    return deepspeed
