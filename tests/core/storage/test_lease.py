"""Two drivers at one URL: a lease that moves is held, one that stands still is taken over."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import StageError
from core.manifest import Manifest
from core.runner.remote import remote_run
from core.stage import StageContext
from core.storage import lease as lease_module
from core.storage.lease import LEASE_NAME, Lease
from tests.core.runner.stages import Numbers
from tests.core.storage.bucket import Bucket

NOTHING = Manifest("corpus.numbers", 1, {}, 1, {}, {}, "", "", "", [], "number", 0, 0, 0)


def lease(bucket: Bucket, folder: Path, seconds: float = 200.0, refresh: float = 0.1) -> Lease:
    return Lease(bucket.remote("run"), folder, dead_after_seconds=seconds, refresh_seconds=refresh)


def beat(bucket: Bucket) -> int:
    return int(json.loads(bucket.read("run")[LEASE_NAME])["beat"])


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 200.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


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


def test_lease_that_was_deleted_is_told_as_that(bucket: Bucket, tmp_path: Path) -> None:
    with lease(bucket, tmp_path, refresh=1000.0) as held:
        bucket.delete(f"run/{LEASE_NAME}")
        with pytest.raises(StageError, match="is gone"):
            held.check()


def test_full_disk_passes_and_the_lease_moves_on(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failed = lease_module.write_json, threading.Event()

    def full(path: Path, value: object) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError(28, "No space left on device")
        write(path, value)

    with lease(bucket, tmp_path):
        monkeypatch.setattr(lease_module, "write_json", full)
        assert failed.wait(200.0)
        before = beat(bucket)
        wait_for(lambda: beat(bucket) > before)


def test_long_log_does_not_keep_the_lease_from_moving(bucket: Bucket, tmp_path: Path) -> None:
    begun, over = threading.Event(), threading.Event()

    def also() -> None:
        begun.set()
        over.wait(200.0)

    with Lease(bucket.remote("run"), tmp_path, also, refresh_seconds=0.1):
        assert begun.wait(200.0)
        before = beat(bucket)
        wait_for(lambda: beat(bucket) > before + 1)
        over.set()


def test_driver_that_lost_its_lease_leaves_the_other_s_files_alone(
    bucket: Bucket, tmp_path: Path
) -> None:
    ctx = StageContext(tmp_path / "run", tmp_path, 1, bucket.url("run"))
    with remote_run(ctx) as run:
        assert run is not None
        assert ctx.mirror is not None
        assert ctx.mirror.driving
        elsewhere(bucket)
        bucket.write("run/corpus/numbers/part-00009.parquet", b"the other's")
        with pytest.raises(StageError, match="on far"):
            run.begin("corpus.numbers")
        with pytest.raises(StageError, match="on far"):
            run.complete(Numbers(), NOTHING, 0)
    assert not ctx.mirror.driving
    assert "corpus/numbers/part-00009.parquet" in bucket.read("run")
