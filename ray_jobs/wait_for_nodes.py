"""Wait until a Ray cluster has all its nodes: ``python -m ray_jobs.wait_for_nodes 4``."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time

from core.errors import StageError
from core.session import ray_session

_EVERY_SECONDS = 1.0


def answers(address: str, until: float) -> bool:
    """Returns whether the head's port opens before a time of the monotonic clock."""
    host, _, port = address.rpartition(":")
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), _EVERY_SECONDS).close()
        except OSError:
            time.sleep(_EVERY_SECONDS)
        else:
            return True
    return False


def nodes_alive() -> int:
    """Returns how many nodes of the open session's cluster are up."""
    import ray

    return sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]


def main() -> int:
    """Returns 0 when they are there, 1 when the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nodes", type=int, help="how many")
    parser.add_argument("--seconds", type=float, default=600.0, help="to wait at most")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="host:port")
    arguments = parser.parse_args()
    if not arguments.address:
        parser.error("give --address or set RAY_ADDRESS")
    until = time.monotonic() + arguments.seconds
    there = 0
    while answers(arguments.address, until):
        try:
            with ray_session(arguments.address):
                while (there := nodes_alive()) < arguments.nodes and time.monotonic() < until:
                    time.sleep(_EVERY_SECONDS)
        except StageError as error:  # its port is open, but it is not up yet
            print(error.what, flush=True)
            time.sleep(_EVERY_SECONDS)
            continue
        break
    print(f"{there} of {arguments.nodes} nodes", flush=True)
    return 0 if there >= arguments.nodes else 1


if __name__ == "__main__":
    sys.exit(main())
