"""The Ray session: a local one on loopback by default, an existing cluster by address."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray._private import ray_constants

from core.errors import StageError
from core.loopback import talk_over_loopback
from core.stage import Resources

LOOPBACK = "127.0.0.1"
_REACH_SECONDS = 10.0
_STARTS = 4
_LOOK_SECONDS = 30.0
_NO_ROOM_SECONDS = 600.0
_ROUNDING = 1e-9
"""Of 0.3 / 0.1, which is less than 3."""
_TOO_SLOW = "timed out during startup"

log = logging.getLogger(__name__)

# Ray's switch for "one machine only": without it a node asked to live on loopback takes the
# machine's outer address all the same, and several of its servers listen on every interface.
# Made for Windows and macOS, hence the name; children read the variable, this process the constant.
_CLUSTER_VARIABLE = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR

# Read by every process Ray starts from here on.
_QUIET = {
    "RAY_DEDUP_LOGS": "1",
    # No usage report is sent: the machine may have no network, and nobody was asked.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without accelerators Ray would blank the variable in every task; leave it as the user set it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Where a training worker failed, others may wait for it in a collective operation and cannot
    # leave the process group: Ray Train gives them so long, 30 s by default, before it ends them.
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",
}


@contextmanager
def ray_session(address: str | None = None, num_cpus: int | None = None) -> Iterator[None]:
    """Joins or starts Ray for the length of the block; an open session is used as it is.

    Args:
        address: cluster to join (``auto``, ``host:port``); None starts a local one, unless
            ``RAY_ADDRESS`` is set, as inside a submitted job.
        num_cpus: CPUs of a local session; None takes all of the machine.

    Raises:
        StageError: the cluster cannot be reached or a local one does not start.
    """
    if ray.is_initialized():
        yield
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    joined = address or os.environ.get("RAY_ADDRESS")
    if joined:
        _require_reachable(joined)
    try:
        if joined:
            ray.init(address=joined, logging_level=logging.ERROR, log_to_driver=False)
        else:
            _loopback_only(True)
            # Of vLLM and training workers, too.
            talk_over_loopback()
            _start_here(num_cpus)
    except Exception as error:
        # Ray raises several unrelated classes here; all mean the same to the user.
        raise StageError(
            f"Ray did not start: {f'{error} '.splitlines()[0].strip() or type(error).__name__}",
            where=f"cluster {joined}" if joined else "local Ray session",
            remedy="check the address (`ray status`), or leave it out to run on this machine",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
        if not joined:
            _loopback_only(False)


def _start_here(num_cpus: int | None) -> None:
    """Starts Ray on this machine; again where the machine was too busy for Ray's own 30 s."""
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(
                num_cpus=num_cpus or os.cpu_count(),
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _node_ip_address=LOOPBACK,
            )
            return
        except Exception as error:  # Ray raises a plain one
            if attempt == _STARTS or _TOO_SLOW not in str(error):
                raise
            log.warning("Ray was too slow to start; starting it again")
            ray.shutdown()


def _require_reachable(address: str) -> None:
    """Fails at once where nobody answers: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except OSError as error:
        raise StageError(
            f"no Ray cluster answers: {error}",
            where=f"cluster {address}",
            remedy="check the address (`ray status`), or leave it out to run on this machine",
        ) from error


def _loopback_only(on: bool) -> None:
    """Keeps every server that Ray starts off the network."""
    ray_constants.ENABLE_RAY_CLUSTER = not on
    if on:
        os.environ[_CLUSTER_VARIABLE] = "0"
    else:
        os.environ.pop(_CLUSTER_VARIABLE, None)


def cluster_resources() -> dict[str, float]:
    """Returns what the open session's nodes hold in all: ``CPU``, ``GPU``, ``memory`` (bytes)."""
    # Ray leaves this one function untyped.
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def cluster_cpus() -> int:
    """Returns the CPUs of the open session, at least 1."""
    return max(1, int(cluster_resources().get("CPU", 1)))


def settle(needs: Resources) -> Resources:
    """Returns the needs with the GPUs that a worker takes only where a node has that many."""
    if needs.gpus_if_any and any(node.get("GPU", 0) >= needs.gpus_if_any for node in _nodes()):
        return replace(needs, gpus=needs.gpus_if_any)
    return needs


def capacity(needs: Resources, where: str) -> int:
    """Returns how many workers with these needs the cluster's nodes can hold at once.

    Args:
        needs: of one worker, which runs on one node.
        where: the stage, for the error.

    Raises:
        StageError: no node can hold one; Ray would wait for ever.
    """
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_bytes or 0}
    wanted = {name: need for name, need in wanted.items() if need}
    kind = f"accelerator_type:{needs.accelerator_type}" if needs.accelerator_type else None
    held = 0
    for node in _nodes():
        # A kind is there or not; workers do not use it up.
        if kind is None or kind in node:
            fits = (int(node.get(name, 0) / need + _ROUNDING) for name, need in wanted.items())
            held += min(fits, default=1)
    if held < 1:
        one = ", ".join(f"{need:g} {name}" for name, need in (*wanted.items(), (kind, 1)) if name)
        raise StageError(
            f"no worker of this stage fits a node of the cluster: one needs {one}",
            where=where,
            remedy="join a larger cluster (cluster.address), or lower the stage's needs "
            f"(cluster.stages: {where})",
        )
    return held


class Room:
    """Notices that no node is left that could hold a worker: Ray would wait for ever.

    A node that was lost may come back, so that is given some minutes.
    """

    def __init__(self, needs: Resources, where: str) -> None:
        """Takes what :func:`capacity` takes."""
        self._needs = needs
        self._where = where
        self._next_look = 0.0
        self._none_since: float | None = None

    def check(self) -> None:
        """Looks, if the last look is some time ago.

        Raises:
            StageError: there has been no such node for long.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        try:
            capacity(self._needs, self._where)
            self._none_since = None
        except StageError as error:
            if self._none_since is None:
                self._none_since = now
                log.warning("%s; waiting for one", error.what)
            elif now - self._none_since >= _NO_ROOM_SECONDS:
                raise


def _nodes() -> list[dict[str, float]]:
    """Returns what each living node of the open session holds."""
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in listed if node["Alive"]]
