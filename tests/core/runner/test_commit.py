"""One unit in this process: what a kill or a fault between two lines leaves behind."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from core.errors import StageError
from core.log import WorkerRecord, _Collector
from core.runner import commit, run
from core.runner.commit import Receipt, finished, process_unit, receipt_path
from core.runner.remote import orders
from core.runner.shards import Failure, _Actor
from core.sources import SourceIndex
from core.stage import StageContext, Unit
from core.storage.remote import StorageError
from tests.core.runner.stages import Numbers


@pytest.fixture
def ctx(tmp_path: Path) -> StageContext:
    return StageContext(tmp_path / "run", tmp_path, 1)


def first_unit(stage: Numbers, ctx: StageContext) -> Unit:
    return stage.plan(ctx, SourceIndex(ctx.root, ctx.root / "hashes.json"))[0]


def test_old_receipt_is_gone_before_its_shard_changes(
    ctx: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = Numbers(offset=0), Numbers(offset=1)
    unit = first_unit(before, ctx)
    process_unit(before, ctx, unit)
    assert finished(before, ctx, unit)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commit, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        process_unit(after, ctx, unit)
    # The recipe is changed back; the shard of the other one has the very size of the first.
    assert finished(before, ctx, unit) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '{"files": [3]}', '{"files": null}'])
def test_receipt_that_is_none_counts_as_none(ctx: StageContext, text: str) -> None:
    path = receipt_path(ctx.run_dir, 0)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert Receipt.load(path) is None


class Unready(Numbers):
    """Cannot load what it needs."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def setup(self, ctx: StageContext) -> None:
        raise self._error


def outcome(stage: Numbers, ctx: StageContext) -> Failure:
    """Returns what the stage's actor says, in this process, which keeps its threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.runner.remote.one_thread", lambda: None)
        found, _ = _Actor(stage, ctx, orders(stage)).process(first_unit(stage, ctx))
    assert isinstance(found, Failure)
    return found


def test_worker_that_cannot_get_ready_says_why(ctx: StageContext) -> None:
    failure = outcome(Unready(ValueError("no such layer")), ctx)
    assert failure.what == "ValueError: no such layer"
    assert "no such layer" in failure.trace
    assert not failure.every_unit


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "/"),
        StorageError("the server refuses", where="there", remedy="ask"),
    ],
)
def test_fault_that_meets_every_unit_ends_the_stage(ctx: StageContext, error: Exception) -> None:
    assert outcome(Unready(error), ctx).every_unit


def test_message_of_a_library_that_does_not_fit_costs_no_unit() -> None:
    records: list[WorkerRecord] = []
    # Not through its logger: pytest listens there, too, and takes offence.
    _Collector(records).emit(logging.makeLogRecord({"msg": "%d rows", "args": ("many",)}))
    assert [record.message for record in records] == ["%d rows ('many',)"]


def test_disk_without_locks_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    with run._lock(tmp_path), pytest.raises(StageError), run._lock(tmp_path):
        pass
    monkeypatch.setattr(run.fcntl, "flock", refused)
    with run._lock(tmp_path):
        assert "knows no locks" in caplog.text
