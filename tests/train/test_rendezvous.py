"""Training workers' store listens at the node's address alone."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import psutil
import pytest

from train import rendezvous


def test_the_store_listens_at_one_address(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed import TCPStore

    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "")
    monkeypatch.setattr(rendezvous, "_open", [])
    address, port = rendezvous.open_store()
    listening = [
        connection.laddr.ip
        for connection in psutil.Process().net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    assert (address, listening) == ("127.0.0.1", ["127.0.0.1"])
    client = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=120))
    client.set("word", "given")
    assert client.get("word") == b"given"


def test_gloo_stays_on_loopback_unless_told_otherwise(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "hsn0")
    # Set first, so that it is put back as it was.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    rendezvous.stay_on_loopback()
    names = [name for _, name in socket.if_nameindex()]
    assert os.environ["GLOO_SOCKET_IFNAME"] in names
    assert os.environ["GLOO_SOCKET_IFNAME"].startswith("lo")
    assert os.environ["NCCL_SOCKET_IFNAME"] == "hsn0"
