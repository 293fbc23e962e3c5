"""Training at one rank: our trainer against a bare PyTorch loop and Hugging Face's Trainer.

All train the same Llama in float32 on the same packed sequences with AdamW and clipping, on one
thread, each in a process of its own, taken in turn. Tokens per second are by the process's CPU
time after the first steps, so that what our threads do (reading ahead, writing checkpoints) counts
against us. From our own log: the share of a step that waits for data, and the share that a
checkpoint holds it up. Run with ``python -m bench.train [--steps 20] [--rounds 3]``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from core.recipe.train import TinyModel, Trainer
from core.schema import token_sequence

_LENGTH = 512
_BATCH = 4
_WARMUP_STEPS = 3
_RATE = 1e-3
SHAPE = TinyModel(
    vocab_size=4096,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=_LENGTH,
)


def make_inputs(folder: Path, sequences: int) -> None:
    """Writes a random model and random packed sequences of two documents each."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    values = SHAPE.model_dump()
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**values)).save_pretrained(folder / "model")
    generator = np.random.default_rng(0)
    token = generator.integers(0, SHAPE.vocab_size, (sequences, _LENGTH))
    position = np.tile(np.concatenate([np.arange(_LENGTH // 2)] * 2), (sequences, 1))
    schema = token_sequence(_LENGTH)
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), _LENGTH)
        for values, kind in (
            (token, pa.int32()),
            (np.ones_like(token), pa.uint8()),
            (position, pa.int32()),
        )
    ]
    spans = pa.array([[]] * sequences, schema.field("spans").type)
    (folder / "tokens").mkdir()
    table = pa.Table.from_arrays([*columns, spans], schema=schema)
    pq.write_table(table, folder / "tokens" / "part-00000.parquet", row_group_size=8)


def _batches(folder: Path, steps: int) -> list[Any]:
    from train.data import SequenceDataset

    dataset = SequenceDataset(folder / "tokens")
    order = dataset.order(1.0, _BATCH, seed=1)
    return [dataset.read(order.step(step)) for step in range(1, steps + 1)]


def plain(folder: Path, steps: int, clock: Callable[[], None]) -> None:
    """Trains by the loop that one would write by hand."""
    import torch
    from transformers import AutoModelForCausalLM

    batches = _batches(folder, steps)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    for batch in batches:
        output = model(
            input_ids=batch.input_ids, position_ids=batch.position_ids, labels=batch.labels,
            use_cache=False,
        )  # fmt: skip
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock()


def hugging_face(folder: Path, steps: int, clock: Callable[[], None]) -> None:
    """Trains by ``transformers.Trainer``."""
    import torch
    from transformers import AutoModelForCausalLM, TrainerCallback, TrainingArguments
    from transformers import Trainer as HuggingFaceTrainer

    rows = [
        {"input_ids": ids, "position_ids": positions, "labels": labels}
        for batch in _batches(folder, steps)
        for ids, positions, labels in zip(
            batch.input_ids, batch.position_ids, batch.labels, strict=True
        )
    ]

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock()

    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    arguments = TrainingArguments(
        output_dir=str(folder / "hugging-face"),
        per_device_train_batch_size=_BATCH,
        max_steps=steps,
        learning_rate=_RATE,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = HuggingFaceTrainer(model, arguments, train_dataset=rows, callbacks=[Clock()])
    trainer.train()


def ours(
    folder: Path, steps: int, clock: Callable[[], None], zero_stage: int = 1, every_steps: int = 0
) -> None:
    """Trains by the loop of a train stage, as one Ray Train worker would run it."""
    from torch import distributed

    from train.loop import train_loop
    from train.spec import LoopSpec
    from train.steplog import StepLog

    os.environ["LOCAL_RANK"] = "0"
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=0, world_size=1)
    written = StepLog.speed

    def speed(self: StepLog, *arguments: Any) -> None:
        written(self, *arguments)
        clock()

    StepLog.speed = speed  # type: ignore[method-assign]
    section = Trainer.model_validate(
        {
            "global_batch_sequences": _BATCH,
            "micro_batch_size": _BATCH,
            "learning_rate": _RATE,
            "zero_stage": zero_stage,
            "checkpoint": {"every_steps": every_steps},
        }
    )
    out = folder / "out"
    out.mkdir()
    spec = LoopSpec(
        stage="train.cpt",
        model=str(folder / "model"),
        tokens=str(folder / "tokens"),
        out=str(out),
        section=section.model_dump(),
        seed=1,
        threads=1,
        started=time.time(),
        checkpoints=str(folder / "checkpoints"),
    )
    train_loop(asdict(spec))


def _run(way: str, steps: int, results: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    times: list[float] = []

    def clock() -> None:
        times.append(time.process_time())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, steps * _BATCH)
        ways: dict[str, Callable[[], None]] = {
            "plain PyTorch loop": lambda: plain(folder, steps, clock),
            "Hugging Face Trainer": lambda: hugging_face(folder, steps, clock),
            "ours, ZeRO-1": lambda: ours(folder, steps, clock),
            "ours, ZeRO-3": lambda: ours(folder, steps, clock, zero_stage=3),
            "ours, a checkpoint every 5 steps": lambda: ours(folder, steps, clock, every_steps=5),
        }
        ways[way]()
        log = folder / "out" / "logs" / "speed.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    lines = lines[1 + _WARMUP_STEPS :]
    whole = sum(line["seconds"] for line in lines) or 1.0
    results.put(
        {
            "tokens_per_s": (len(times) - 1 - _WARMUP_STEPS)
            * _BATCH
            * _LENGTH
            / (times[-1] - times[_WARMUP_STEPS]),
            "data": sum(line["data_wait_seconds"] for line in lines) / whole,
            "checkpoint": sum(line["checkpoint_seconds"] for line in lines) / whole,
        }
    )


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ways = (
        "plain PyTorch loop",
        "Hugging Face Trainer",
        "ours, ZeRO-1",
        "ours, ZeRO-3",
        "ours, a checkpoint every 5 steps",
    )
    context = get_context("spawn")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way in ways:
            results = context.Queue()
            process = context.Process(target=_run, args=(way, arguments.steps, results))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{way} failed")
            found[way].append(results.get())
    table = Table(title=f"float32 Llama, {_BATCH} x {_LENGTH} tokens a step, one thread")
    for header in ("", "tokens/s", "of the plain loop", "waits for data", "held by checkpoints"):
        table.add_column(header, justify="left" if not header else "right")
    base = [result["tokens_per_s"] for result in found[ways[0]]]
    for way, rounds in found.items():
        speed = [result["tokens_per_s"] for result in rounds]
        ratio = statistics.median(a / b for a, b in zip(speed, base, strict=True))
        shares = [statistics.median(r[key] for r in rounds) for key in ("data", "checkpoint")]
        shown = [f"{share:.2%}" for share in shares] if way.startswith("ours") else ["", ""]
        speeds = f"{min(speed):,.0f} - {max(speed):,.0f}"
        table.add_row(way, speeds, f"{ratio:.1%}", *shown)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
