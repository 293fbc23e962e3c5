"""The look-out itself; the run that it watches is in ``tests/ray_jobs/test_whole_path.py``."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.safety.listening import Listening

_LISTEN = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
taken = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, kind)
taken.bind((sys.argv[2], 0))
if kind == socket.SOCK_STREAM:
    taken.listen()
print("ready", flush=True)
sys.stdin.read()
"""
_ORPHAN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]])"
_LONGEST_SECONDS = 120.0


@pytest.mark.parametrize(
    ("kind", "address", "wide"),
    [("tcp", "0.0.0.0", True), ("udp", "0.0.0.0", True), ("tcp", "127.0.0.1", False)],
)
def test_what_listens_is_seen_also_without_a_parent(kind: str, address: str, wide: bool) -> None:
    with (
        Listening() as heard,
        # Its standard input ends with this block, and it with that.
        subprocess.Popen(
            [sys.executable, "-c", _ORPHAN, _LISTEN, kind, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        until = time.monotonic() + _LONGEST_SECONDS
        while (kind, address) not in heard.seen and time.monotonic() < until:
            time.sleep(0.05)
    assert set(heard.seen) == {(kind, address)}
    assert bool(heard.beyond_loopback()) == wide
