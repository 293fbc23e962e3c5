"""What a worker's machine has: memory it can take."""

from __future__ import annotations

import os

from core import memory


def free_memory_bytes(use_gpu: bool) -> int | None:
    """Returns what can still be taken: of this worker's accelerator, or of the whole machine.

    Args:
        use_gpu: the worker has an accelerator.
    """
    if not use_gpu:
        return memory.free_memory_bytes()
    import torch

    free, _ = torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))
    return int(free)
