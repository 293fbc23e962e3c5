"""Machines of a private network, as network namespaces that nothing outside can reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

_SUBNET = "10.213.71"


class Network:
    """Namespaces joined by a bridge, which stands in the first.

    Args:
        prefix: of their names; at most five characters, since a device's name has at most 15.
        machines: how many.
    """

    def __init__(self, prefix: str, machines: int) -> None:
        self._names = [f"{prefix}{number}" for number in range(machines)]

    def address(self, number: int) -> str:
        """Returns a machine's address."""
        return f"{_SUBNET}.{number + 1}"

    def inside(self, number: int, command: list[str]) -> list[str]:
        """Returns a command as it is to be called on a machine."""
        return ["ip", "netns", "exec", self._names[number], *command]

    def plug(self, number: int, state: str) -> None:
        """Joins a machine to the others, or parts it from them: ``up``, ``down``."""
        _ip("-n", self._names[0], "link", "set", f"port{number}", state)

    def build(self) -> None:
        """Makes the namespaces and their devices."""
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        hub = self._names[0]
        _ip("-n", hub, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{self.address(0)}/24", "dev", "bridge0")
        _ip("-n", hub, "link", "set", "bridge0", "up")
        for number, name in list(enumerate(self._names))[1:]:
            port = f"port{number}"
            _ip(
                "-n", hub, "link", "add", port, "type", "veth", "peer", "name", "out", "netns", name
            )
            _ip("-n", hub, "link", "set", port, "master", "bridge0")
            self.plug(number, "up")
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "out")
            _ip("-n", name, "link", "set", "out", "up")

    def remove(self) -> None:
        """Takes down what there is of it."""
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=60)


def why_not() -> str | None:
    """Returns why no network can be made here, or None."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and the program ip"
    name = f"t{os.getpid() % 10_000}"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "bridge0", "type", "bridge")
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made here: {error.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=60)
    return None


@contextlib.contextmanager
def network(machines: int) -> Iterator[Network]:
    """Makes a network for the length of the block."""
    made = Network(f"c{os.getpid() % 1000}", machines)
    try:
        made.build()
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=60)
