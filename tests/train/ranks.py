"""Runs a function on several processes that form a gloo process group, as Ray Train would.

The processes are forks of a server that has imported everything once: eight of them start in two
seconds, where eight fresh ones on two cores would import DeepSpeed for half a minute.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

_PRELOAD = ["tests.train.preload"]
_TIMEOUT_SECONDS = 300
"""Of one exchange between ranks: a rank that failed must not keep the others for long."""


def run_ranks(world_size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Returns what the function returned on each rank.

    Args:
        world_size: processes.
        function: of a module, called as ``function(*args)`` with the process group open.
        args: given to every rank; can be pickled.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        with ProcessPoolExecutor(world_size, mp_context=context) as pool:
            running = [
                pool.submit(_on_rank, rank, world_size, meeting, function, args)
                for rank in range(world_size)
            ]
            return [future.result() for future in running]


def _on_rank(
    rank: int, world_size: int, meeting: str, function: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    distributed.init_process_group(
        "gloo",
        f"file://{meeting}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=_TIMEOUT_SECONDS),
    )
    try:
        return function(*args)
    finally:
        distributed.destroy_process_group()
