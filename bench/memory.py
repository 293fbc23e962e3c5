"""Time and peak memory of a call, measured in a fresh process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What a call returned and took."""

    value: Any
    seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(call: Callable[..., Any], *arguments: Any) -> Measured:
    """Makes a call in a fresh process; its value travels back pickled.

    Raises:
        RuntimeError: the call failed there.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, call, arguments))
    process.start()
    theirs.close()
    try:
        found: Measured = ours.recv()
    except EOFError as error:
        raise RuntimeError(f"{call.__name__} failed") from error
    finally:
        process.join()
    return found


def peak_mib(call: Callable[..., Any], *arguments: Any) -> float:
    """Returns the peak resident memory (MiB) of a fresh process that makes the call.

    Raises:
        RuntimeError: the call failed there.
    """
    return measured(_valueless, call, *arguments).peak_mib


def own_peak_mib() -> float:
    """Returns the peak resident memory (MiB) of this process so far."""
    # Not ru_maxrss: a child starts with its parent's.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _valueless(call: Callable[..., Any], *arguments: Any) -> None:
    call(*arguments)


def _measure(pipe: Connection, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    began, began_cpu = time.perf_counter(), time.process_time()
    value = call(*arguments)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    pipe.send(Measured(value, seconds, cpu_seconds, own_peak_mib()))
