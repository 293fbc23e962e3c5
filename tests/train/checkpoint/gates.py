"""A training loop that waits at a step for what the test will do: nothing is a matter of time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.atomic import write_json
from train.checkpoint.control import RunControl
from train.checkpoint.saver import Checkpoints
from train.data import MicroBatch
from train.engine import ReadState, StepResult, TrainEngine
from train.launch import launch
from train.loop import train_loop
from train.zero import ZeroEngine

LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Gate:
    """The first worker that has done a step waits there: to be killed, or until a stop is asked.

    Args:
        note: file with the worker's process id, written when it waits; those after it do not.
        step: counted from the first that the run ever did.
    """

    note: Path
    step: int

    def launch(self) -> Callable[..., None]:
        """Returns :func:`train.launch.launch` with this gate in the loop."""
        return partial(launch, loop=partial(gated_loop, self))

    @contextmanager
    def when_reached(self, do: Callable[[int], None]) -> Iterator[None]:
        """Calls ``do`` with the waiting worker's process id, while the block runs."""

        def wait() -> None:
            do(self.pid())

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        yield
        thread.join()

    def pid(self) -> int:
        """Waits for the note; returns the process id."""
        wait_for(self.note.exists, f"step {self.step}")
        return int(self.note.read_text())


def wait_for(found: Callable[[], object], what: str) -> None:
    """Waits until something is there, not for ever."""
    end = time.monotonic() + LIMIT_SECONDS
    while not found():
        assert time.monotonic() < end, f"there is no {what}"
        time.sleep(0.05)


def gated_loop(gate: Gate, config: dict[str, Any]) -> None:
    """:func:`train.loop.train_loop`, on a worker of its own."""
    control = RunControl(Path(config["checkpoints"]))
    engine: Any = ZeroEngine
    saver: Any = Checkpoints
    plain_step, plain_load = engine.step, engine.load_fragments
    plain_begin = saver._begin
    done = 0

    def load(self: TrainEngine, read: ReadState, step: int) -> None:
        nonlocal done
        done = step
        plain_load(self, read, step)

    def step(self: TrainEngine, batches: list[MicroBatch], rate: float) -> StepResult:
        nonlocal done
        result: StepResult = plain_step(self, batches, rate)
        done += 1
        if done == gate.step and not gate.note.exists():
            # By one rename: a note that is there is whole.
            write_json(gate.note, os.getpid())
            wait_for(control.asked_to_stop, "end of the wait")
        return result

    def begin(self: Checkpoints, number: int) -> None:
        plain_begin(self, number)
        # Written before the next step, which commits it: a gate behind that has it for certain.
        if self._writing is not None:
            self._writing.join()

    # The process is this run's alone.
    engine.step, engine.load_fragments = step, load
    saver._begin = begin
    train_loop(config)
