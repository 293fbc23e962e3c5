"""The folder of checkpoints, the notes beside it, copies elsewhere."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from core.errors import InputError, StageError
from train.checkpoint.control import RunControl
from train.checkpoint.files import entry
from train.checkpoint.format import MARKER_NAME, Marker
from train.checkpoint.identity import require_same
from train.checkpoint.store import CheckpointStore, damage
from train.checkpoint.upload import Uploader
from train.spec import identity


def put(store: CheckpointStore, step: int, size: int = 100) -> Marker:
    """Makes a checkpoint of two files."""
    folder = store.writing(step, "test")
    folder.mkdir()
    for rank in range(2):
        (folder / f"rank-{rank}").write_bytes(bytes([step % 256]) * size)
    files = [entry(folder / f"rank-{rank}") for rank in range(2)]
    marker = Marker(step, 100, 0, step * 4, {"seed": 1}, {}, files)
    store.commit(folder, marker)
    return marker


def test_only_complete_checkpoints_count(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    marker = put(store, 5)
    put(store, 12)
    store.writing(20, "dead").mkdir()
    (store.at(30)).mkdir()
    (store.at(40)).mkdir()
    (store.at(40) / MARKER_NAME).write_text('{"step": 40')
    assert store.steps() == [12, 5]
    assert Marker.load(store.at(5)) == marker
    store.clean()
    assert not store.writing(20, "dead").exists()
    # Committed again, by a start that trained the same steps anew.
    put(store, 12)
    assert store.steps() == [12, 5]


def test_damage_is_named(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    marker = put(store, 5)
    folder = store.at(5)
    assert damage(folder, marker) is None
    second = folder / "rank-1"
    second.write_bytes(b"x" * 100)
    assert damage(folder, marker) == "rank-1 has another hash than when it was written"
    # Each worker looks at its share of the files.
    assert damage(folder, marker, rank=0, ranks=2) is None
    assert damage(folder, marker, rank=1, ranks=2) is not None
    second.write_bytes(b"x" * 99)
    assert damage(folder, marker) == "rank-1 has 99 bytes instead of 100"
    second.unlink()
    assert damage(folder, marker) == "rank-1 is missing"


def test_what_is_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    for step in range(1, 10):
        put(store, step)
    store.prune(keep_last=2, keep_every_steps=4, needed={1})
    assert store.steps() == [9, 8, 4, 1]
    store.finish(keep_last=1, keep_every_steps=4)
    done = CheckpointStore(store.folder / "done")
    assert (store.steps(), done.steps()) == ([], [9, 8, 4])
    store.finish(keep_last=0, keep_every_steps=0)
    assert not store.folder.exists()


def test_another_run_is_refused_by_name() -> None:
    section = {"learning_rate": 1e-3, "num_workers": 2, "checkpoint": {}, "epochs": 1.0}
    saved = identity(section, 1, {"tokens": "a" * 64}, "w" * 64)
    # Workers and checkpoints may change; a tuple is what it reads back as.
    require_same(saved, identity({**section, "num_workers": 8}, 1, {"tokens": "a" * 64}, "w" * 64),
                 "train.cpt", Path("c"))  # fmt: skip
    cases = {
        rf"'tokens' had the fingerprint {'a' * 16}, now it has {'b' * 16}": identity(
            section, 1, {"tokens": "b" * 64}, "w" * 64
        ),
        rf"'replay' had the fingerprint \(none\), now it has {'r' * 16}": identity(
            section, 1, {"tokens": "a" * 64, "replay": "r" * 64}, "w" * 64
        ),
        "starting weights had": identity(section, 1, {"tokens": "a" * 64}, "v" * 64),
        "seed was 1, now it is 2": identity(section, 2, {"tokens": "a" * 64}, "w" * 64),
        r"epochs was 1\.0, now it is 2\.0": identity(
            {**section, "epochs": 2.0}, 1, {"tokens": "a" * 64}, "w" * 64
        ),
    }
    for message, now in cases.items():
        with pytest.raises(StageError, match=message) as error:
            require_same(saved, now, "train.cpt", Path("runs/x/checkpoints"))
        assert "runs/x/checkpoints" in error.value.where


def test_signals_ask_to_stop(tmp_path: Path) -> None:
    control = RunControl(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        control.clear()
        with control.stopped_by():
            assert not control.asked_to_stop()
            os.kill(os.getpid(), number)
            assert control.asked_to_stop()
    assert signal.getsignal(signal.SIGTERM) is before
    control.note_stop(3, 9)
    assert control.stopped() == (3, 9)
    control.clear()
    assert control.stopped() is None
    assert not control.asked_to_stop()


def test_an_error_of_the_run_is_raised_again_at_once(tmp_path: Path) -> None:
    control = RunControl(tmp_path)
    with pytest.raises(InputError), control.failures_noted():
        raise InputError("bad shard", where="here", remedy="mend it")
    with pytest.raises(StageError, match="bad shard") as error, control.failures_noted():
        pytest.fail("trained again")
    assert (error.value.where, error.value.remedy) == ("here", "mend it")
    control.clear()
    # What may go better next time is not noted: a lost connection, a full memory.
    with pytest.raises(RuntimeError), control.failures_noted():
        raise RuntimeError("Connection closed by peer")
    with control.failures_noted():
        pass


def test_copies_are_complete_resumable_and_marked_last(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    marker = put(store, 5)
    target = tmp_path / "elsewhere" / "run"
    copy = target / "step-00000005"
    copy.mkdir(parents=True)
    # Left by an upload that was cut off: one file whole, one half.
    (copy / "rank-0").write_bytes(b"?" * 100)
    (copy / "rank-1").write_bytes(b"?" * 50)
    first = Uploader(store, str(target), rank=0, ranks=2)
    first.add(5)
    time.sleep(0.3)
    # The second worker's file is not there: no marker yet, and the original is still needed.
    assert not (copy / MARKER_NAME).exists()
    assert first.waiting == {5}
    second = Uploader(store, str(target), rank=1, ranks=2)
    second.add(5)
    for uploader in (second, first):
        uploader.close(wait=True)
    assert Marker.load(copy) == marker
    assert (copy / "rank-0").read_bytes() == b"?" * 100, "copied again"
    assert (copy / "rank-1").read_bytes() == bytes([5]) * 100
    assert first.waiting == set()


def test_a_copy_that_fails_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("train.checkpoint.upload._WAIT_SECONDS", 0.001)
    store = CheckpointStore(tmp_path / "checkpoints")
    put(store, 5)
    (tmp_path / "file").write_text("no folder")
    uploader = Uploader(store, str(tmp_path / "file" / "run"), rank=0, ranks=1)
    uploader.add(5)
    uploader.close(wait=True)
    assert "upload of step 5, attempt 3" in caplog.text
    with pytest.raises(InputError, match="checkpoints cannot be copied there"):
        Uploader(store, "nowhere://bucket/run", rank=0, ranks=1)
