"""A node of a Ray cluster: ``python -m ray_jobs.start_node --head ...``, as ``ray start`` takes it.

Ray turns an address of ``127.0.0.1`` into the machine's outer one, and its own switch against that
allows a head but no second node. With this, a cluster of several nodes on one machine, as in tests
and trials, stays on loopback. Any other address goes to Ray as it is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from core.session import LOOPBACK
from ray_jobs.wait_for_nodes import answers


def stay_on_loopback() -> None:
    """Makes this process, and those it starts, take ``127.0.0.1`` for the node's address."""
    from ray._private import ray_constants, services

    # Read by the children; see core.session.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    # In this process the switch would refuse to join a head; only what it does to addresses is
    # wanted.
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.get_node_ip_address = lambda address=None: LOOPBACK


def main(arguments: Sequence[str]) -> None:
    """Starts the node, once its head is there; with ``--block`` it returns when it has ended."""
    if f"--node-ip-address={LOOPBACK}" in arguments:
        stay_on_loopback()
    from ray.scripts.scripts import cli

    until = time.monotonic() + float(os.environ.get("ASTROMILL_START_SECONDS", "600"))
    for argument in arguments:
        option, _, address = argument.partition("=")
        if option == "--address" and not answers(address, until):
            sys.exit(f"no Ray head answers at {address}")
    cli(["start", *arguments], prog_name="ray")


if __name__ == "__main__":
    main(sys.argv[1:])
