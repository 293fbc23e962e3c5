"""A Ray cluster of several nodes on one machine, whose parts can be killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.network import Network

CHECKOUT = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 600.0
"""How long anything is waited for. Nothing here takes long; a machine under load may."""
NODES = 3
STORE_BYTES = 80_000_000
BUSY = ("_task", "_Actor.process", "RayTrainWorker")
"""How Ray titles a worker that has a unit of work."""


@dataclass(eq=False)
class Node:
    """A node, and the process that starts it and stays.

    Args:
        address: where it is.
        command: starts it.
        log: what that wrote.
    """

    address: str
    command: list[str]
    log: Path
    started: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str]) -> None:
        """Starts it."""
        with self.log.open("wb") as output:
            self.started = subprocess.Popen(
                self.command, env=environment, cwd=CHECKOUT, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def alive(self) -> bool:
        """Returns whether it has not ended."""
        return self.started is not None and self.started.poll() is None

    def failed(self) -> bool:
        """Returns whether it will not come up any more."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return not self.alive() or any(
                child.status() == psutil.STATUS_ZOMBIE for child in self._raylets()
            )
        return True

    def raylet(self) -> psutil.Process:
        """The process that is the node to the others."""
        return next(iter(self._raylets()))

    def busy(self) -> psutil.Process | None:
        """A worker that has a unit of work, or None."""
        with contextlib.suppress(psutil.Error):
            for raylet in self._raylets():
                for child in raylet.children():
                    if is_busy(child):
                        return child
        return None

    def family(self) -> list[psutil.Process]:
        """All its processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.started is not None:
                parent = psutil.Process(self.started.pid)
                return [parent, *parent.children(recursive=True)]
        return []

    def end(self) -> None:
        """Kills all its processes."""
        kill_all(self.family())
        if self.started is not None:
            self.started.wait(timeout=60)

    def _raylets(self) -> list[psutil.Process]:
        if self.started is None:
            return []
        children = psutil.Process(self.started.pid).children()
        return [child for child in children if child.name() == "raylet"]


def is_busy(process: psutil.Process) -> bool:
    """Returns whether a worker has a unit of work."""
    with contextlib.suppress(psutil.Error):
        title = " ".join(process.cmdline())
        return title.startswith("ray::") and any(name in title for name in BUSY)
    return False


class Cluster:
    """A head and further nodes of one CPU each.

    Args:
        folder: for Ray's own files; its path is short, since sockets live below it.
        network: where the nodes live; None: all on the loopback.
        head_works: whether the head has a CPU, too. It cannot be killed: without one, whatever is
            at work can.
    """

    def __init__(
        self, folder: Path, network: Network | None = None, head_works: bool = True
    ) -> None:
        self._folder = folder
        self._network = network
        self._head_works = head_works
        self.nodes: list[Node] = []
        host = network.address(0) if network else "127.0.0.1"
        self.address = f"{host}:{free_port()}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            # How soon a node that does not answer is given up: five times one second, where Ray
            # has five times three, and each question may take ten.
            "RAY_health_check_period_ms": "1000",
            # Half a minute by default, which a machine under load does not make.
            "RAY_raylet_start_wait_time_s": str(int(LIMIT_SECONDS)),
            "COLUMNS": "200",
        }
        if network is None:
            # See core.session: keeps a driver that joins on loopback there.
            self.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

    def start(self, nodes: int = NODES) -> None:
        """Brings the head and its nodes up."""
        # A node that finds no head registered gives up at once.
        for number in range(nodes):
            self._up(self._launch(head=number == 0))

    def add(self) -> Node:
        """Brings one more node up."""
        return self._up(self._launch())

    def alive(self) -> list[Node]:
        """Returns the nodes that have not ended."""
        return [node for node in self.nodes if node.alive()]

    def busy(self) -> psutil.Process | None:
        """Returns a busy worker of any node."""
        return next(filter(None, (node.busy() for node in self.alive())), None)

    def inside(self, number: int, command: list[str]) -> list[str]:
        """Returns a command as it is to be called on a node's machine."""
        return self._network.inside(number, command) if self._network else command

    def close(self) -> None:
        """Ends all that was started."""
        family = [member for node in self.nodes for member in node.family()]
        # Workers of a raylet that was killed have no parent left, but keep their logs open.
        family += [each for each in psutil.process_iter() if _uses(each, self._folder)]
        kill_all(family)

    def _launch(self, head: bool = False) -> Node:
        number = len(self.nodes)
        address = self._network.address(number) if self._network else "127.0.0.1"
        port = self.address.rpartition(":")[2]
        first = ["--head", "--include-dashboard=false", f"--port={port}"]
        first.append(f"--temp-dir={self._folder}")
        command = [
            sys.executable, "-m", "ray_jobs.start_node", "--block", "--log-color=false",
            "--disable-usage-stats", f"--node-ip-address={address}",
            f"--num-cpus={0 if head and not self._head_works else 1}",
            f"--object-store-memory={STORE_BYTES}",
            *(first if head else [f"--address={self.address}"]),
        ]  # fmt: skip
        node = Node(address, self.inside(number, command), self._folder / f"node{number}.log")
        self.nodes.append(node)
        return node

    def _up(self, node: Node) -> Node:
        """Starts a node and waits until it is there.

        Ray gives a node's agents 15 s, which a machine under load does not make: it is tried again.
        """
        started = time.monotonic()
        node.start(self.environment)
        while "Ray runtime started" not in node.log.read_text():
            assert time.monotonic() - started < LIMIT_SECONDS, node.log.read_text()
            if node.failed():
                node.end()
                node.start(self.environment)
            time.sleep(0.05)
        return node


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kills processes and waits until they are gone."""
    killed = list(processes)
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_gone(killed)


def wait_gone(processes: Iterable[psutil.Process]) -> None:
    """Waits until processes have ended; those that nobody collects count as ended."""
    started = time.monotonic()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() - started < LIMIT_SECONDS, f"{process} does not end"
                time.sleep(0.02)


def free_port() -> int:
    """Returns a port that nobody listens on, below those that the system gives out itself."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def cluster(
    network: Network | None = None, nodes: int = NODES, head_works: bool = True
) -> Iterator[Cluster]:
    """Brings a cluster up, and down at the end, with all that its nodes left."""
    # A socket's path has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    found = Cluster(folder, network, head_works)
    try:
        found.start(nodes)
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)


def _uses(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        if any(str(folder) in word for word in process.cmdline()):
            return True
        files = Path("/proc", str(process.pid), "fd")
        return any(os.readlink(file).startswith(f"{folder}/") for file in files.iterdir())
    return False
