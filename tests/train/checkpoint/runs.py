"""Training runs in processes of their own, which can be killed; forked from one that has imported.

A fork server imports PyTorch, DeepSpeed and Transformers once; each worker is a fork of it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from core.recipe.train import Trainer
from train.checkpoint.control import RunControl
from train.data import MicroBatch
from train.engine import ReadState, StepResult, TrainEngine
from train.loop import train_loop
from train.pipeline.engine import PipelineEngine
from train.spec import LoopSpec, identity
from train.zero import ZeroEngine

SECTION = Trainer(
    epochs=2.5,
    global_batch_sequences=4,
    micro_batch_size=1,
    learning_rate=3e-3,
    weight_decay=0.1,
    max_grad_norm=0.5,
)


class Run:
    """One training run: its folders, and what happens at each start of it."""

    def __init__(self, folder: Path, model: Path, tokens: Path, **changes: Any) -> None:
        self.folder, self.model, self.tokens = folder, model, tokens
        self.out, self.checkpoints = folder / "out", folder / "checkpoints"
        self.changes = changes

    def spec(self, world: int, **changes: Any) -> LoopSpec:
        checkpoint = {"every_steps": 2, "every_minutes": 0, **changes.pop("checkpoint", {})}
        data = {"tokens": changes.pop("data", "one")}
        evaluation = changes.pop("evaluation", {})
        section = {**SECTION.model_dump(), **self.changes, **changes, "num_workers": world}
        section = Trainer.model_validate({**section, "checkpoint": checkpoint}).model_dump()
        return LoopSpec(
            stage="train.cpt",
            model=str(self.model),
            tokens=str(self.tokens),
            out=str(self.out),
            section=section,
            seed=5,
            threads=1,
            started=time.time(),
            checkpoints=str(self.checkpoints),
            identity=identity(section, 5, data, "weights"),
            upload_to=checkpoint.get("upload_to"),
            evaluation=evaluation,
        )

    def start(
        self,
        world: int = 1,
        *,
        kill: tuple[int, int] | None = None,
        stop_at: int | None = None,
        **changes: Any,
    ) -> list[int]:
        """Starts the run in an empty output folder; returns the workers' exit codes.

        Args:
            world: workers.
            kill: (rank, step): that worker is killed once it has done that step.
            stop_at: the run is asked to stop in that step.
            changes: of the section.
        """
        if self.out.exists():
            # As the runner does with the output of a start that was cut off.
            self.out.rename(self.folder / f"old-{uuid.uuid4().hex}")
        self.out.mkdir(parents=True)
        RunControl(self.checkpoints).clear()
        spec = asdict(self.spec(world, **changes))
        meeting = str(self.folder / f"meeting-{uuid.uuid4().hex}")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.train.preload"])
        arguments = [(rank, world, meeting, spec, kill, stop_at) for rank in range(world)]
        workers = [context.Process(target=_work, args=a) for a in arguments]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(500)
            if worker.exitcode is None:
                worker.kill()
        return [worker.exitcode or 0 for worker in workers]

    def metrics(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]

    def losses(self) -> list[float]:
        return [line["loss"] for line in self.metrics()]

    def files(self) -> dict[str, bytes]:
        """Contents of everything that the runner puts into the manifest."""
        found = {p.relative_to(self.out).as_posix(): p for p in self.out.rglob("*") if p.is_file()}
        return {name: p.read_bytes() for name, p in found.items() if not name.startswith("logs/")}

    def saved(self) -> list[str]:
        return sorted(p.name for p in self.checkpoints.iterdir() if p.is_dir())

    def error(self) -> dict[str, str]:
        return dict(json.loads((self.checkpoints / "failed.json").read_text()))

    def seen(self) -> dict[int, list[int]]:
        """Sequences of each step that the finished run is made of, over all its workers."""
        found: dict[int, dict[int, list[int]]] = {}
        for path in sorted(self.folder.glob("seen-*.jsonl"), key=lambda p: p.stat().st_mtime):
            for line in path.read_text().splitlines():
                record = json.loads(line)
                # A step that was trained again after a kill replaces what was lost.
                found.setdefault(record["step"], {})[record["rank"]] = record["sequences"]
        return {
            step: [sequence for _, share in sorted(by_rank.items()) for sequence in share]
            for step, by_rank in sorted(found.items())
        }


def _work(
    rank: int,
    world: int,
    meeting: str,
    spec: dict[str, Any],
    kill: tuple[int, int] | None,
    stop_at: int | None,
) -> None:
    os.environ["LOCAL_RANK"] = os.environ["RANK"] = str(rank)
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=world)
    control = RunControl(Path(spec["checkpoints"]))
    record = (Path(spec["out"]).parent / f"seen-{uuid.uuid4().hex}.jsonl").open("w", buffering=1)
    engine: Any = ZeroEngine
    if spec["section"]["parallel"]["engine"] == "pipeline":
        engine = PipelineEngine
    plain_step, plain_load = engine.step, engine.load_fragments
    done = 0

    def load(self: TrainEngine, read: ReadState, step: int) -> None:
        nonlocal done
        done = step
        plain_load(self, read, step)

    def step(self: TrainEngine, batches: list[MicroBatch], rate: float) -> StepResult:
        nonlocal done
        result: StepResult = plain_step(self, batches, rate)
        done += 1
        firsts = [int(i) for batch in batches for i in batch.input_ids[:, 0]]
        record.write(json.dumps({"step": done, "rank": rank, "sequences": firsts}) + "\n")
        if kill == (rank, done):
            os.kill(os.getpid(), signal.SIGKILL)
        if stop_at == done:
            control.ask_to_stop()
        return result

    engine.step, engine.load_fragments = step, load
    train_loop(spec)
    distributed.destroy_process_group()
