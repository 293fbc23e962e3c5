"""A full disk is told from all else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from core.disk import disk_full


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/"),
        RuntimeError("PytorchStreamWriter failed: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_named(error: Exception, tmp_path: Path) -> None:
    found = disk_full(error, tmp_path)
    assert found is not None
    assert "is full" in found.what
    assert "run the same command again" in found.remedy


def test_a_cause_counts(tmp_path: Path) -> None:
    error = ValueError("the shard cannot be written")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert disk_full(error, tmp_path)


def test_other_failures_are_not_a_full_disk(tmp_path: Path) -> None:
    assert disk_full(FileNotFoundError(errno.ENOENT, "No such file"), tmp_path) is None
    assert disk_full(ValueError("wrong"), tmp_path) is None
