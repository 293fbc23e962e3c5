"""Two drivers at one URL: a lease that moves is held, one that stands still is taken over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import StageError
from core.storage.lease import LEASE_NAME, Lease
from tests.core.storage.bucket import Bucket


def lease(bucket: Bucket, folder: Path, seconds: float = 200.0, refresh: float = 0.1) -> Lease:
    return Lease(bucket.remote("run"), folder, dead_after_seconds=seconds, refresh_seconds=refresh)


def elsewhere(bucket: Bucket) -> None:
    """Leaves the lease of a driver on another machine."""
    holder = {"token": "other", "beat": 7, "host": "far", "pid": 1, "boot": "x", "pid_space": 1}
    bucket.write(f"run/{LEASE_NAME}", json.dumps(holder).encode())


def test_lease_is_given_back(bucket: Bucket, tmp_path: Path) -> None:
    with lease(bucket, tmp_path) as held:
        held.check()
        assert [*bucket.read("run")] == [LEASE_NAME]
    assert bucket.read("run") == {}


def test_live_driver_is_not_disturbed(bucket: Bucket, tmp_path: Path) -> None:
    # The lease moves ten times a second; whoever looks for 200 seconds sees it move.
    with lease(bucket, tmp_path / "a"), pytest.raises(StageError, match="another astromill run"):
        lease(bucket, tmp_path / "b").__enter__()


def test_lease_that_stands_still_is_taken_over(bucket: Bucket, tmp_path: Path) -> None:
    elsewhere(bucket)
    with lease(bucket, tmp_path, seconds=0.2) as held:
        held.check()


def test_lease_that_cannot_be_read_is_taken_over(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write(f"run/{LEASE_NAME}", b"half of a")
    with lease(bucket, tmp_path, seconds=0.2) as held:
        held.check()


def test_driver_that_lost_its_lease_commits_nothing(bucket: Bucket, tmp_path: Path) -> None:
    # No refresh of its own may fall between.
    with lease(bucket, tmp_path, refresh=1000.0) as held:
        elsewhere(bucket)
        with pytest.raises(StageError, match="on far"):
            held.check()
    assert [*bucket.read("run")] == [LEASE_NAME], "the other's lease stays"
