"""Runs a program that ends when its parent does: ``python tether.py PROGRAM ARGUMENT...``.

A worker that is killed cannot stop what it has started. The kernel can: it sends the program a
signal when its parent dies, and keeps the wish over ``exec``. Linux only; elsewhere the program
just runs. Needs nothing but Python, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, arguments: list[str]) -> None:
    """Becomes the program.

    Args:
        parent: process id of the one that asked.
        arguments: the program and its arguments.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the wish was made.
    if os.getppid() == parent:
        os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
