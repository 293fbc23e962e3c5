from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.errors import Paused
from core.heartbeat import PROGRESS_NAME, Heartbeat, ProgressFile, read_heartbeat


def test_a_run_is_told_from_its_first_stage_to_its_end(tmp_path: Path) -> None:
    with ProgressFile(tmp_path) as progress:
        # A second driver, which the run's lock turns away, must not get as far as writing.
        assert not (tmp_path / PROGRESS_NAME).exists()
        progress.stage("corpus.ocr", 3, 7)
        beat = read_heartbeat(tmp_path)
        assert beat is not None
        assert (beat.state, beat.stage, beat.number, beat.count) == ("running", "corpus.ocr", 3, 7)
        assert beat.pid == os.getpid()
        progress.units(2, 10, 0, "")
        progress.units(6, 10, 400, "80 rows/s")
    beat = read_heartbeat(tmp_path)
    assert beat is not None
    assert (beat.state, beat.done, beat.total, beat.rows) == ("done", 6, 10, 400)
    assert (beat.first_done, beat.note) == (2, "80 rows/s")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ValueError("no room"), "failed"),
        (KeyboardInterrupt(), "stopped"),
        (Paused("saved", where="train.cpt", remedy="run again"), "stopped"),
    ],
)
def test_how_it_ended_is_told(tmp_path: Path, error: BaseException, state: str) -> None:
    def run() -> None:
        with ProgressFile(tmp_path) as progress:
            progress.stage("corpus.ocr", 1, 1)
            raise error

    with pytest.raises(type(error)):
        run()
    beat = read_heartbeat(tmp_path)
    assert beat is not None
    assert (beat.state, beat.message) == (state, str(error))


def test_time_left_counts_only_what_this_start_has_done() -> None:
    beat = Heartbeat(done=60, total=100, first_done=40, stage_started=1000.0, updated=1100.0)
    # 20 units in 100 s; 40 are left.
    assert beat.seconds_left == pytest.approx(200.0)
    assert Heartbeat(done=40, total=100, first_done=40).seconds_left is None
    assert Heartbeat(done=100, total=100, first_done=0).seconds_left is None


def test_a_full_disk_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with ProgressFile(tmp_path) as progress:
        progress.stage("corpus.ocr", 1, 1)
        progress.units(1, 1, 1, "")
    assert read_heartbeat(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"other": 1})])
def test_what_is_no_heartbeat_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / PROGRESS_NAME).write_text(text)
    assert read_heartbeat(tmp_path) is None
