"""A trial on the real workers before hours are allocated: memory, a step, a checkpoint.

What costs most to find out late is tried first: does the model fit, do the workers find each other
and run a step of the real shape, does what a checkpoint wrote read back equal, is there room for
all that will be kept. The step trains on random tokens; nothing of it stays.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.atomic import write_json
from core.errors import StageError
from core.recipe.checkpoint import Checkpoint
from core.recipe.train import ModelShape, Trainer
from train.budget import rank_memory
from train.machine import free_memory_bytes
from train.spec import LoopSpec

if TYPE_CHECKING:
    from train.data import MicroBatch
    from train.engine import StepResult, TrainEngine
    from train.workers import Workers

RESULT_NAME = "preflight.json"

PARTS = (
    "workers",
    "memory",
    "engine",
    "first step",
    "checkpoint, copied",
    "checkpoint, written",
    "second step",
    "checkpoint, read",
)
"""What is timed, in order."""

_STATE_BYTES = 12
"""Of a parameter in a checkpoint: float32 weight and two moments."""

_GIB = 2**30
_HOST_BYTES = 64
_FAR_OFF_NATS = 3.0
"""Random tokens cost ln(vocabulary) under a model that knows nothing, more under one that knows
much; less by so much would mean that it sees what it is to predict."""


@dataclass
class Preflight:
    """What was found.

    Args:
        seconds: of each part, in order.
        step_seconds: of the second synthetic step; the first one warms up.
        loss: of the first one, nats per token.
        expected_loss: ln(vocabulary): what random tokens cost at least.
        planned_bytes: memory of a worker by the memory model.
        free_bytes: of its accelerator, or its share of the machine; None: not known.
        peak_bytes: measured, the most of all workers.
        checkpoint_bytes: of one checkpoint.
        kept_bytes: of all that the run keeps at a time, and its model.
        disk_bytes: free where they go.
        steps: of the run, where its data is there or planned.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    step_seconds: float = 0.0
    loss: float = 0.0
    expected_loss: float = 0.0
    planned_bytes: int = 0
    free_bytes: int | None = None
    peak_bytes: int = 0
    checkpoint_bytes: int = 0
    kept_bytes: int = 0
    disk_bytes: int = 0
    steps: int | None = None

    @property
    def run_seconds(self) -> float | None:
        """Estimate of the run's time, without saving."""
        return None if self.steps is None else self.steps * self.step_seconds


def kept_bytes(parameters: int, section: Trainer, steps: int | None) -> int:
    """Returns the disk that a run takes at its fullest: checkpoints, and the model at its end.

    Args:
        parameters: of the model.
        section: of the run.
        steps: of the run; None: not known, so that those kept for good are not counted.
    """
    want = section.checkpoint
    # One more is being written while the others are still there.
    count = want.keep_last + 1
    if want.keep_every_steps and steps is not None:
        count += steps // want.keep_every_steps
    weights = 2 if section.dtype == "bfloat16" else 4
    return parameters * (count * _STATE_BYTES + weights)


def check_disk(folder: Path, parameters: int, section: Trainer, steps: int | None) -> int:
    """Checks that there is room for what the run writes; returns the free bytes.

    Args:
        folder: of the run; made where it is absent.
        parameters: of the model.
        section: of the run.
        steps: of the run, if known.

    Raises:
        StageError: there is too little.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    need = kept_bytes(parameters, section, steps)
    if free < need:
        raise StageError(
            f"checkpoints and model take {need / _GIB:,.1f} GiB ({section.checkpoint.keep_last} "
            f"checkpoints kept, one more being written), {free / _GIB:,.1f} GiB are free",
            where=str(folder),
            remedy="make room, keep fewer (checkpoint.keep_last, checkpoint.keep_every_steps), or "
            "put run_dir on another disk",
        )
    return free


def preflight_loop(config: dict[str, Any]) -> None:
    """Runs the trial on this worker; worker 0 writes what it found.

    Args:
        config: a :class:`LoopSpec` as a dictionary, whose folders are the trial's own.

    Raises:
        StageError: the model does not fit, the step gives no sensible loss, or the checkpoint
            reads back differently.
    """
    from train.checkpoint.control import RunControl
    from train.determinism import deterministic_kernels

    spec = LoopSpec(**config)
    section = Trainer.model_validate(spec.section)
    with (
        RunControl(Path(spec.checkpoints)).failures_noted(),
        deterministic_kernels(section.deterministic),
    ):
        _try(spec, section)


def _try(spec: LoopSpec, section: Trainer) -> None:
    import torch

    from train.budget import shape_of
    from train.engines import open_engine
    from train.throughput import peak_memory_bytes
    from train.workers import Workers

    torch.set_num_threads(spec.threads)
    workers = Workers()
    found = Preflight(seconds={"workers": time.time() - spec.started})
    shape, tied = shape_of(Path(spec.model))
    with _timed(found, "memory"):
        _check_memory(workers, section, shape, tied, spec, found)
    with _timed(found, "engine"):
        engine = open_engine(Path(spec.model), section)
    batches = random_batches(engine, section, spec.sequence_length, spec.seed)
    with _timed(found, "first step"):
        first = engine.step(batches, section.learning_rate)
    found.expected_loss = math.log(engine.vocabulary)
    found.loss = _sensible(first, found.expected_loss, spec.stage)
    _try_checkpoint(workers, spec, section, engine, batches, found)
    found.peak_bytes = int(max(workers.gather_number(peak_memory_bytes())))
    if workers.rank == 0:
        write_json(Path(spec.out) / RESULT_NAME, asdict(found))
    workers.close()


@contextmanager
def _timed(found: Preflight, part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    found.seconds[part] = time.perf_counter() - began


def _check_memory(
    workers: Workers,
    section: Trainer,
    shape: ModelShape,
    tied: bool,
    spec: LoopSpec,
    found: Preflight,
) -> None:
    """Compares the memory model with what each worker has."""
    found.planned_bytes = rank_memory(shape, section, spec.sequence_length, tied).total
    free = free_memory_bytes(section.use_gpu)
    hosts = workers.gather_texts(socket.gethostname(), _HOST_BYTES)
    frees = workers.gather_number(-1.0 if free is None else float(free))
    beside = Counter(hosts) if not section.use_gpu else Counter(set(hosts))
    shares = [f / beside[host] for f, host in zip(frees, hosts, strict=True) if f >= 0]
    if not shares:
        return
    least = min(range(len(frees)), key=lambda rank: frees[rank] / beside[hosts[rank]])
    found.free_bytes = int(min(shares))
    if found.planned_bytes > found.free_bytes:
        sharing = "" if section.use_gpu else f" (of {beside[hosts[least]]} workers there)"
        raise StageError(
            f"a worker needs about {found.planned_bytes / _GIB:,.1f} GiB, worker {least} on "
            f"{hosts[least]} can have {found.free_bytes / _GIB:,.1f} GiB{sharing}",
            where=f"{spec.stage}, memory model",
            remedy="lower micro_batch_size, raise zero_stage or num_workers, set "
            "parallel.activation_checkpointing: true, or spread the model (parallel.engine: "
            "pipeline)",
        )


def random_batches(
    engine: TrainEngine, section: Trainer, sequence_length: int, seed: int
) -> list[MicroBatch]:
    """Returns a step's micro batches of this worker, of random tokens in whole sequences."""
    import torch

    from train.data import IGNORE, MicroBatch

    count = section.global_batch_sequences // engine.data_size
    generator = torch.Generator().manual_seed(seed * 65_537 + engine.data_rank)
    shape = (count, sequence_length)
    ids = torch.randint(0, engine.vocabulary, shape, generator=generator)
    positions = torch.arange(sequence_length).repeat(count, 1)
    labels = ids.clone()
    labels[:, 0] = IGNORE
    return MicroBatch(ids, positions, labels).split(section.micro_batch_size)


def _sensible(result: StepResult, expected: float, stage: str) -> float:
    finite = math.isfinite(result.loss) and math.isfinite(result.grad_norm)
    if not finite or result.loss < expected - _FAR_OFF_NATS:
        raise StageError(
            f"a step on random tokens has the loss {result.loss} and the gradient norm "
            f"{result.grad_norm}; at least about {expected:.2f} nats are expected",
            where=f"{stage}, synthetic step",
            remedy="look at the model's weights and at dtype; on accelerators, at their health",
        )
    return result.loss


def _try_checkpoint(
    workers: Workers,
    spec: LoopSpec,
    section: Trainer,
    engine: TrainEngine,
    batches: list[MicroBatch],
    found: Preflight,
) -> None:
    """Saves the state, trains on, reads the state back and compares it."""
    from train.checkpoint.saver import Checkpoints
    from train.order import SequenceOrder

    order = SequenceOrder(3 * section.global_batch_sequences, 1, section.global_batch_sequences, 0)
    always = Checkpoint(every_steps=1, every_minutes=0, keep_last=1)
    saving = section.model_copy(update={"checkpoint": always})
    spec = replace(spec, upload_to=None, section=saving.model_dump())
    checkpoints = Checkpoints(spec, saving, engine, order, workers)
    checkpoints.resume()
    saved = state_digest(engine)
    with _timed(found, "checkpoint, copied"):
        checkpoints.after(1)
    with _timed(found, "checkpoint, written"):
        checkpoints.settle()
    with _timed(found, "second step"):
        engine.step(batches, section.learning_rate)
    found.step_seconds = found.seconds["second step"]
    folder = Path(spec.checkpoints)
    found.checkpoint_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    with _timed(found, "checkpoint, read"):
        step = checkpoints.resume()
    (differs,) = workers.any(step != 1 or state_digest(engine) != saved)
    checkpoints.close(complete=True)
    if differs:
        raise StageError(
            "the state of a checkpoint reads back differently",
            where=f"{spec.stage}, {folder}",
            remedy="the disk or the file system is faulty: try another place for run_dir",
        )


def state_digest(engine: TrainEngine) -> str:
    """Returns a hash over this worker's part of the state."""
    digest = hashlib.sha256()
    for fragment in engine.fragments():
        digest.update(f"{fragment.name} {fragment.slice_index} {fragment.start}".encode())
        for kind, values in fragment.values.items():
            digest.update(kind.encode())
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_result(out: Path) -> Preflight:
    """Returns what worker 0 wrote."""
    found = Preflight(**json.loads((out / RESULT_NAME).read_text("utf-8")))
    # The file has its keys sorted.
    found.seconds = {part: found.seconds[part] for part in PARTS}
    return found


def preflight(
    spec: LoopSpec, section: Trainer, parameters: int, steps: int | None, folder: Path
) -> Preflight:
    """Runs the trial on Ray Train workers.

    Args:
        spec: of the run that is to come; its folders are left alone.
        section: of the run.
        parameters: of the model.
        steps: of the run, if known.
        folder: of the run; the trial's files are in a folder of it that is removed.

    Raises:
        StageError: it failed; the message says which part.
    """
    from train.launch import launch

    free = check_disk(folder, parameters, section, steps)
    trial = folder / "preflight"
    shutil.rmtree(trial, ignore_errors=True)
    (trial / "out").mkdir(parents=True)
    try:
        tried = replace(
            spec,
            out=str(trial / "out"),
            checkpoints=str(trial / "checkpoints"),
            started=time.time(),
            upload_to=None,
        )
        launch(tried, section, preflight_loop)
        found = read_result(trial / "out")
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    found.steps, found.disk_bytes = steps, free
    found.kept_bytes = kept_bytes(parameters, section, steps)
    return found
