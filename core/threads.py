"""How many threads native libraries compute on."""

from __future__ import annotations

import os
import sys

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def one_thread() -> None:
    """Has this process's native libraries compute on one thread.

    On another number of threads PyTorch adds floats up in another order, and the last digits of
    a score are others; work is spread by workers. Ray sets the number too, but to the CPUs it
    books, gives way to a variable of the user's environment, and does not reach a worker that
    loaded PyTorch for an earlier stage.
    """
    for name in _VARIABLES:
        os.environ[name] = "1"
    # Not imported here: most stages have no need of it.
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
