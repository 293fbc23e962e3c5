"""The ``zero`` engine: DeepSpeed ZeRO 1, 2 or 3 over a Hugging Face Llama, on CPUs or GPUs.

ZeRO shards optimizer state (1), gradients (2) and parameters (3) over data-parallel workers. The
AstroSage runs used FSDP full shard (AstroMLab 3, Table 1), which is stage 3 here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from core.recipe.train import Trainer
from train.data import MicroBatch
from train.engine import StepResult, TrainEngine, summed_loss

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
    matrices = [p for p in trained if p.ndim >= 2]
    vectors = [p for p in trained if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class ZeroEngine(TrainEngine):
    """DeepSpeed ZeRO. The process group must be open (Ray Train opens it)."""

    def __init__(self, model: Any, section: Trainer) -> None:
        """Hands the model to DeepSpeed.

        Args:
            model: a Hugging Face causal language model in float32 on the CPU, the same on
                every worker.
            section: batch sizes, optimizer, ZeRO stage and dtype.
        """
        deepspeed = _import_deepspeed(section.use_gpu)
        self._deepspeed = deepspeed
        self._model = model
        self._world_size = distributed.get_world_size()
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        model.config.use_cache = False
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
            # No attention mask: restarting positions alone keep packed documents apart.
            logits = engine(
                input_ids=batch.input_ids.to(device),
                position_ids=batch.position_ids.to(device),
                use_cache=False,
            ).logits
            loss = summed_loss(logits, batch.labels.to(device))
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

    def save(self, folder: Path) -> None:
        """Writes config and safetensors of the whole model; only rank 0 touches the disk."""
        state: dict[str, torch.Tensor] = {}
        # Tied weights come once; loading ties them again.
        for name, parameter in self._model.named_parameters():
            with self._gathered(parameter):
                if distributed.get_rank() == 0:
                    state[name] = parameter.detach().cpu().clone()
        if distributed.get_rank() == 0:
            self._model.config.use_cache = True
            self._model.save_pretrained(folder, state_dict=state)
        distributed.barrier()

    def _gathered(self, parameter: torch.nn.Parameter) -> Any:
        # Parameters are whole below stage 3, where the context manager does nothing.
        return self._deepspeed.zero.GatheredParameters([parameter])

    def _master_parts(self) -> Iterable[torch.Tensor]:
        """This worker's part of the float32 weights; the parts of all workers make the model."""
        for name in _MASTER_WEIGHTS:
            parts = getattr(self._engine.optimizer, name, None)
            if parts is not None:
                return list(parts)
        raise AttributeError("DeepSpeed's optimizer keeps its float32 weights under a new name")


def _import_deepspeed(use_gpu: bool) -> Any:
    if not use_gpu:
        # DeepSpeed would take a GPU that it sees, whatever the recipe says.
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops

    # What it can compile here; looking runs compilers for seconds. With nothing to choose from it
    # leaves its shared-memory all-reduce alone, which takes minutes to build, and uses gloo.
    deepspeed.ops.__compatible_ops__ = {}
    return deepspeed
