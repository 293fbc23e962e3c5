"""A damaged shard and a full disk cost what they must, and are named. No cluster is needed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import InputError
from core.hashing import sha256_file
from core.manifest import FileEntry
from core.runner.commit import process_unit
from core.runner.shards import Failure, _guarded
from core.shards import read_shard, shard_name, stream_batches, write_shard
from core.stage import AlignedUnits, StageContext, Unit
from tests.core.runner.stages import Halve, Numbers


def made(ctx: StageContext) -> Path:
    """Returns the first shard of the numbers, made here."""
    stage = Numbers(1)
    process_unit(stage, ctx, Unit(0, {"from": 0}, "0"))
    return ctx.folder(stage.name) / shard_name(0)


def reader(shard: Path) -> Unit:
    entry = FileEntry(shard.name, shard.stat().st_size, sha256_file(shard), 5)
    return AlignedUnits([[entry]], [])[0]


def test_no_flipped_bit_is_read_as_other_data(context: StageContext) -> None:
    shard = made(context)
    unit, data = reader(shard), shard.read_bytes()
    assert process_unit(Halve(), context, unit).rows_in == 5
    for at in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        shard.write_bytes(flipped)
        with pytest.raises(InputError, match="this shard is not what") as found:
            process_unit(Halve(), context, unit)
        assert "delete it and run again" in found.value.remedy


def test_a_page_carries_its_own_check(tmp_path: Path) -> None:
    # For readers that have no manifest at hand.
    shard = tmp_path / shard_name(0)
    text = random.Random(1).randbytes(20_000).hex()
    write_shard(shard, pa.table({"text": [text]}))
    data = shard.read_bytes()
    for at in range(len(data) // 4, len(data) // 2, 97):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        shard.write_bytes(flipped)
        with pytest.raises(InputError, match="cannot read"):
            read_shard(shard)
        with pytest.raises(InputError, match="cannot read"):
            list(stream_batches(tmp_path))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with next to no space."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk of its own needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


def test_a_full_disk_ends_the_stage_and_is_named(full_disk: Path) -> None:
    context = StageContext(run_dir=full_disk, root=full_disk, seed=1)
    (full_disk / "ballast").write_bytes(b"\1" * 4096)
    found = _guarded(Numbers(1), context, Unit(0, {"from": 0}, "0"), lambda: None)
    assert isinstance(found, Failure)
    assert found.every_unit
    assert f"the disk {full_disk} is full" in found.what
    assert found.remedy == "make space there"
    assert not list(full_disk.rglob("*.tmp-*")), "a half-written file stayed"
    assert not list(full_disk.rglob("receipts/*"))
    (full_disk / "ballast").unlink()
