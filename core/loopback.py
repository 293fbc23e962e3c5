"""Keeps messages between processes of one machine off the network."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

_INTERFACES = ("lo", "lo0")
_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def loopback_settings() -> dict[str, str]:
    """Returns variables by which gloo and NCCL stay on the loopback interface.

    They listen at whatever address the host's name leads to, otherwise.
    """
    with suppress(OSError):
        names = [name for _, name in socket.if_nameindex() if name in _INTERFACES]
        return dict.fromkeys(_VARIABLES, names[0]) if names else {}
    return {}


def talk_over_loopback() -> None:
    """Sets them for this process and those it starts; what the user has set stays."""
    for name, value in loopback_settings().items():
        os.environ.setdefault(name, value)


__all__ = ["loopback_settings", "talk_over_loopback"]
