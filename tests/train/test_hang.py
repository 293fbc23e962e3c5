from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from train.hang import HANG_EXIT_CODE, Watchdog, stragglers

HANGS = """
import sys, time
from pathlib import Path
import train.hang
from train.hang import Watchdog

train.hang._DUMP_SECONDS = 1.0

def waits_for_a_partner_that_is_gone():
    time.sleep(60)

with Watchdog(0.5, Path(sys.argv[1]), "train.cpt, rank 3"):
    waits_for_a_partner_that_is_gone()
"""


def test_a_hanging_worker_says_where_and_ends(tmp_path: Path, checkout: Path) -> None:
    dump = tmp_path / "logs" / "hang.txt"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(dump)], cwd=checkout, capture_output=True, timeout=50
    )
    assert done.returncode == HANG_EXIT_CODE
    assert time.monotonic() - began < 20
    text = dump.read_text()
    assert "train.cpt, rank 3: no step for" in text
    assert "waits_for_a_partner_that_is_gone" in text


def test_it_ends_though_the_stacks_cannot_be_written(tmp_path: Path, checkout: Path) -> None:
    dump = tmp_path / "pipe"
    os.mkfifo(dump)  # nobody reads: opening it waits for ever, as a dead file system does
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(dump)], cwd=checkout, capture_output=True, timeout=50
    )
    assert done.returncode == HANG_EXIT_CODE


def test_a_worker_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    with Watchdog(1.0, tmp_path / "hang.txt", "test") as watchdog:
        for _ in range(6):
            time.sleep(0.25)
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
