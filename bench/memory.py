"""Peak memory of a call, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def peak_mib(call: Callable[..., Any], *arguments: Any) -> float:
    """Returns the peak resident memory (MiB) of a fresh process that makes the call.

    Raises:
        RuntimeError: the call failed there.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_measure, args=(theirs, call, arguments)
    )
    process.start()
    theirs.close()
    try:
        peak: float = ours.recv()
    except EOFError as error:
        raise RuntimeError(f"{call.__name__} failed") from error
    finally:
        process.join()
    return peak


def _measure(pipe: Connection, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    call(*arguments)
    # Not ru_maxrss: a child starts with its parent's.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    pipe.send(int(line.split()[1]) / 1024)
