"""How training workers find each other, without listening to more than they need.

Left alone, rank 0's store (torch's ``TCPStore``) listens on every interface of its node, and gloo
on whatever address the host's name leads to. Here the store listens at the one address that the
workers are told, and in a session on loopback gloo and NCCL stay on loopback, too.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch import config as torch_config
from torch import distributed

from core.loopback import talk_over_loopback

_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
"""Torch's own word for: the store is there already, rank 0 need not open one."""

_open: list[Any] = []
"""The store of this process; the others lose it when it is collected."""


class Rendezvous(TorchConfig):
    """Torch's process group, with its store at one address."""

    @property
    def backend_cls(self) -> type[torch_config._TorchBackend]:
        """What sets the workers up."""
        return _Backend


class _Backend(torch_config._TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Sets up the process group on all workers; runs in Ray Train's controller."""
        worker_group.execute(stay_on_loopback)
        # What Ray runs on worker 0 to get the address that it then tells all.
        asked: Any = torch_config
        plain, asked.get_address_and_port = asked.get_address_and_port, open_store
        try:
            super().on_start(worker_group, backend_config)
        finally:
            asked.get_address_and_port = plain


def stay_on_loopback() -> None:
    """Keeps a worker's messages on loopback where its node is; the user's own settings stay."""
    if _is_loopback(_node_address()):
        talk_over_loopback()


def open_store() -> tuple[str, int]:
    """Opens the workers' store in this process; returns its address and port."""
    store: Any = distributed.TCPStore  # type: ignore[attr-defined]
    address = _node_address()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.bind((address, 0))
    except OSError:
        # Behind a translated address nothing can be bound to it.
        listener.bind(("", 0))
    listener.listen(socket.SOMAXCONN)
    port = int(listener.getsockname()[1])
    _open[:] = [
        store(
            host_name=address,
            port=port,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
    ]
    os.environ[_AGENT_STORE] = "True"
    return address, port


def _node_address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


__all__ = ["Rendezvous", "open_store", "stay_on_loopback"]
