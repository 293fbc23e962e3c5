"""A run at a URL on real Ray and a real S3 server: what the bucket holds is the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import InputError
from core.manifest import Manifest
from core.recipe.load import run_place
from core.shards import read_shard, shard_paths
from core.stage import StageContext
from tests.conftest import ROOT
from tests.core.runner import stages
from tests.core.storage import gated
from tests.core.storage.bucket import Bucket, NewCache

_LONGEST_SECONDS = 300
_UNHASHED = ("timings.json", "when.txt", "progress.json", "lease.json", "sources.json")


@pytest.fixture(autouse=True, scope="module")
def _by_value(ray_session: None) -> None:
    from ray import cloudpickle

    for module in (stages, gated):
        cloudpickle.register_pickle_by_value(module)


class Run:
    """The same stages at a URL and in a local folder."""

    def __init__(self, bucket: Bucket, cache: NewCache, notes: Path) -> None:
        self.bucket = bucket
        self.cache = cache
        self.notes = notes
        self.url = bucket.url("runs/one")

    def context(self) -> StageContext:
        return StageContext(run_place(self.notes, self.url), self.notes, 1, self.url)

    def go(self, factor: int = 2, shards: int = 3) -> list[str]:
        return gated.go(gated.pipeline(self.context(), self.notes, factor, shards))

    def reasons(self, factor: int = 2) -> dict[str, list[str]]:
        self.context().mirror.forget()  # type: ignore[union-attr]
        states = gated.pipeline(self.context(), self.notes, factor).states()
        return {name: state.reasons for name, state in states.items() if not state.fresh}

    def objects(self) -> dict[str, bytes]:
        return self.bucket.read("runs/one")

    def content(self) -> dict[str, bytes]:
        return kept(self.objects())

    def diary(self) -> list[str]:
        path = self.notes / "diary"
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def kept(files: dict[str, bytes]) -> dict[str, bytes]:
    """What must not differ between equal runs."""
    return {
        name: data
        for name, data in files.items()
        if Path(name).name not in _UNHASHED and not {"receipts", "logs"} & set(Path(name).parts)
    }


@pytest.fixture
def run(bucket: Bucket, new_cache: NewCache, tmp_path: Path) -> Run:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "gate").touch()
    return Run(bucket, new_cache, notes)


def wait_for(true: Callable[[], object], what: str) -> None:
    """Waits for a condition, however long the machine is busy with other work."""
    end = time.monotonic() + _LONGEST_SECONDS
    while not true():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.1)


def test_bucket_holds_what_a_local_run_holds(run: Run, tmp_path: Path) -> None:
    assert run.go() == ["corpus.numbers", "corpus.doubled", "eval.summed"]
    local = StageContext(tmp_path / "local", run.notes, 1)
    gated.go(gated.pipeline(local, run.notes))
    files = {
        path.relative_to(local.run_dir).as_posix(): path.read_bytes()
        for path in local.run_dir.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    assert run.content() == kept(files)
    assert {*run.objects()} == {*files}, "receipts, timings and logs are there too, no lease"
    assert run.go() == []
    # On a node that has never seen the run nothing is done again, and all can be read.
    run.cache.renew()
    assert run.reasons() == {}
    assert run.go() == []
    ctx = run.context()
    assert list(ctx.run_dir.rglob("part-*.parquet")) == []
    paths = shard_paths(ctx.folder("corpus.doubled"))
    assert [len(read_shard(path)) for path in paths] == [5, 5, 5]
    assert (ctx.folder("eval.summed") / "model" / "sum.txt").read_text() == "420"
    assert (ctx.folder("eval.summed") / "logs" / "speed.txt").read_text() == "fast"


def test_stages_after_a_lost_cache_read_from_the_bucket(run: Run) -> None:
    run.go()
    run.diary()
    before = run.content()
    run.cache.renew()
    assert run.go(factor=3) == ["corpus.doubled", "eval.summed"]
    assert run.diary() == ["0", "1", "2"]
    assert run.objects()["eval/summed/model/sum.txt"] == b"630"
    run.cache.renew()
    run.go()
    assert run.content() == before


def test_fewer_shards_leave_nothing_behind(run: Run) -> None:
    run.go(shards=3)
    # Their number is not in these stages' config: without manifests they are planned anew.
    for stage in ("numbers", "doubled"):
        run.bucket.delete(f"runs/one/corpus/{stage}/manifest.json")
    run.bucket.write("runs/one/eval/summed/logs/of-a-longer-start.txt", b"x")
    run.bucket.write("runs/one/corpus/doubled/sources.json", b"{}")
    run.go(shards=2)
    names = [name for name in run.objects() if name.startswith("corpus/") and "0002" in name]
    assert names == []
    assert "corpus/doubled/sources.json" not in run.objects()
    assert [name for name in run.objects() if "/logs/" in name] == ["eval/summed/logs/speed.txt"]


def test_lost_and_truncated_objects_are_made_again(run: Run) -> None:
    run.go()
    run.diary()
    before = run.content()
    run.bucket.delete("runs/one/corpus/doubled/part-00002.parquet")
    whole = before["corpus/doubled/part-00000.parquet"]
    run.bucket.write("runs/one/corpus/doubled/part-00000.parquet", whole[:100])
    assert run.reasons() == {"corpus.doubled": ["output files are missing or damaged"]}
    run.cache.renew()
    run.go()
    assert run.diary() == ["0", "2"]
    assert run.content() == before


def test_shard_without_receipt_and_receipt_without_shard(run: Run) -> None:
    run.go()
    run.diary()
    before = run.content()
    for name in ("manifest.json", "receipts/00000.json", "part-00001.parquet"):
        run.bucket.delete(f"runs/one/corpus/doubled/{name}")
    run.bucket.write("runs/one/corpus/doubled/receipts/00002.json", b'{"half": ')
    run.bucket.write("runs/one/corpus/doubled/rejects/part-00000.parquet", b"stale")
    run.go()
    assert run.diary() == ["0", "1", "2"]
    assert run.content() == before


def test_damaged_object_of_full_size_is_a_clear_error(run: Run) -> None:
    run.go()
    run.diary()
    before = run.content()
    name = "corpus/doubled/part-00001.parquet"
    run.bucket.write(f"runs/one/{name}", b"x" * len(before[name]))
    run.cache.renew()
    ctx = run.context()
    with pytest.raises(InputError, match="not what its manifest says") as caught:
        read_shard(ctx.folder("corpus.doubled") / "part-00001.parquet")
    assert caught.value.where.endswith(name)
    # What the message says to do.
    run.bucket.delete(f"runs/one/{name}")
    run.go()
    assert run.diary() == ["1"]
    assert run.content() == before


def test_damaged_copy_is_fetched_again(run: Run) -> None:
    run.go()
    ctx = run.context()
    path = ctx.place("corpus.doubled") / "part-00001.parquet"
    good = path.read_bytes()
    path.write_bytes(b"x" * len(good))
    ctx.mirror.forget()  # type: ignore[union-attr]
    assert len(read_shard(ctx.folder("corpus.doubled") / path.name)) == 5
    assert path.read_bytes() == good


def test_stage_that_another_node_made_again_is_seen(run: Run) -> None:
    run.go()
    first = run.context()
    assert Manifest.load(first.folder("corpus.doubled"))
    kept_cache = os.environ["ASTROMILL_CACHE"]
    os.environ["ASTROMILL_CACHE"] = str(run.notes / "other-node")
    run.go(factor=3)
    os.environ["ASTROMILL_CACHE"] = kept_cache
    assert run.reasons(factor=3) == {}
    total = first.folder("eval.summed") / "model" / "sum.txt"
    assert total.read_text() == "630"


def test_killed_driver_leaves_what_is_finished(run: Run, tmp_path: Path) -> None:
    import ray

    run.go()
    run.diary()
    before = run.content()
    lost = Run(run.bucket, run.cache, tmp_path / "lost")
    lost.notes.mkdir()
    lost.url = run.bucket.url("runs/lost")
    there = tmp_path / "cache-of-the-killed"
    command = [sys.executable, "-m", "tests.core.storage.driver"]
    command += [ray.get_runtime_context().gcs_address, lost.url]
    command += [str(there / "run"), str(lost.notes)]
    environment = {**os.environ, "ASTROMILL_CACHE": str(there), "PYTHONPATH": str(ROOT)}
    with (tmp_path / "driver.txt").open("wb") as output:
        driver = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    receipt = "corpus/doubled/receipts/00000.json"
    wait_for(
        lambda: receipt in lost.bucket.read("runs/lost") or driver.poll() is not None, "a receipt"
    )
    assert driver.poll() is None, (tmp_path / "driver.txt").read_text()
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    found = lost.bucket.read("runs/lost")
    assert "lease.json" in found
    assert "corpus/doubled/manifest.json" not in found
    (lost.notes / "gate").touch()
    run.cache.renew()
    assert lost.go() == ["corpus.doubled", "eval.summed"]
    assert lost.diary().count("0") == 1
    assert kept(lost.bucket.read("runs/lost")) == before
