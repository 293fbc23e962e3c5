from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from train.hang import HANG_EXIT_CODE, Watchdog, stragglers

HANGS = """
import sys, time
from pathlib import Path
import train.hang
from train.hang import Watchdog

train.hang._DUMP_SECONDS = float(sys.argv[2])

def waits_for_a_partner_that_is_gone():
    time.sleep(3000)

with Watchdog(0.5, Path(sys.argv[1]), "train.cpt, rank 3"):
    waits_for_a_partner_that_is_gone()
"""
PIPES: Any = {"capture_output": True, "timeout": 400}


def test_a_hanging_worker_says_where_and_ends(tmp_path: Path, checkout: Path) -> None:
    dump = tmp_path / "logs" / "hang.txt"
    done = subprocess.run([sys.executable, "-c", HANGS, str(dump), "300"], cwd=checkout, **PIPES)
    assert done.returncode == HANG_EXIT_CODE
    text = dump.read_text()
    assert "train.cpt, rank 3: no step for" in text
    assert "waits_for_a_partner_that_is_gone" in text


def test_it_ends_though_the_stacks_cannot_be_written(tmp_path: Path, checkout: Path) -> None:
    dump = tmp_path / "pipe"
    os.mkfifo(dump)  # nobody reads: opening it waits for ever, as a dead file system does
    done = subprocess.run([sys.executable, "-c", HANGS, str(dump), "1"], cwd=checkout, **PIPES)
    assert done.returncode == HANG_EXIT_CODE


class Clock:
    """Time as this test will have it: a watchdog that is wrong ends the whole process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looks = 0

    def monotonic(self) -> float:
        if threading.current_thread().name == "watchdog":
            self.looks += 1
        return self.seconds

    def looked_at(self, times: int) -> None:
        before, end = self.looks, time.monotonic() + 120
        while self.looks < before + times:
            assert time.monotonic() < end, "nobody looks"
            time.sleep(0.01)


def test_a_worker_that_goes_on_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("train.hang.time", clock)
    with Watchdog(1.0, tmp_path / "hang.txt", "test") as watchdog:
        for _ in range(6):
            clock.seconds += 0.25
            clock.looked_at(2)
            watchdog.alive()
    assert not (tmp_path / "hang.txt").exists()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0, 1.1, 0.9, 2.0], [3]),
        ([1.0, 1.6], [1]),
        ([1.0, 1.4, 1.2], []),
        ([3.0], []),
        ([0.0, 0.0], []),
    ],
)
def test_stragglers(seconds: list[float], expected: list[int]) -> None:
    assert stragglers(seconds, 1.5) == expected
