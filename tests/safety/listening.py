"""Notes at which addresses processes listen, while a test runs them."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

import psutil

_MARK = "ASTROMILL_TEST_WATCHED"
_LOOK_SECONDS = 0.5


class Listening:
    """Looks, from entering to leaving, at all that this process starts.

    What is started knows the mark in its environment, so that a process whose parent has ended is
    found, too. For use in a ``with``; looks once more on leaving.
    """

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], str] = {}
        """Program by kind (``tcp``, ``udp``) and address, of every socket that takes in."""
        self._value = uuid.uuid4().hex
        self._ours: dict[tuple[int, float], bool] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Listening:
        os.environ[_MARK] = self._value
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.look()
        os.environ.pop(_MARK, None)

    def beyond_loopback(self) -> dict[tuple[str, str], str]:
        """Returns what other machines could reach."""
        return {key: who for key, who in self.seen.items() if not _is_loopback(key[1])}

    def look(self) -> None:
        """Looks once."""
        ours = {process.pid: process.info["name"] for process in self._processes()}
        for found in psutil.net_connections(kind="inet"):
            tcp = found.type == socket.SOCK_STREAM
            # A UDP socket without a partner takes from anybody.
            takes = found.status == psutil.CONN_LISTEN if tcp else not found.raddr
            if takes and found.laddr and found.pid in ours:
                key = ("tcp" if tcp else "udp", found.laddr.ip)
                self.seen.setdefault(key, ours[found.pid])

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error, OSError):  # it has ended since, or is of another user
                if self._is_ours(process):
                    yield process

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with suppress(psutil.Error, OSError):
                self.look()

    def _is_ours(self, process: psutil.Process) -> bool:
        key = (process.pid, process.create_time())
        if not self._ours.get(key):
            # Asked again while it is not: a process that was just forked has not begun its program.
            self._ours[key] = process.environ().get(_MARK) == self._value
        return self._ours[key]


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
