"""The tiny Nougat, trained once for all tests that read pages with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: a tiny model is slower with more, above all on a busy CPU."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread for a file's tests."""
    with _one_thread():
        yield


@pytest.fixture(scope="session")
def tiny_nougat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Nougat that knows the pages of :mod:`tests.corpus.nougat_tiny` by heart.

    It takes half a minute to train: test processes that run side by side share one.
    """
    from tests.corpus.nougat_tiny import train_tiny_nougat

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "tiny-nougat"
    with (shared / "tiny-nougat.lock").open("w") as lock:
        # Freed by the system should this process die.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with _one_thread():
                made = train_tiny_nougat(tmp_path_factory.mktemp("nougat") / "model")
            # By one rename: a folder that is there is whole.
            made.rename(folder)
    return folder
