"""A real S3 server (moto's) on loopback, a bucket per test, and an empty cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# While tests are collected, so before any Ray session starts: its workers inherit them.
os.environ.setdefault("AWS_ACCESS_KEY_ID", "loopback-key-id")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "loopback-key-value")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

from core.storage.cache import CACHE_VARIABLE
from tests.core.storage.bucket import Bucket, NewCache


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """``host:port`` of the server."""
    from moto.server import ThreadedMotoServer

    # A line per request otherwise.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str) -> Bucket:
    """An empty bucket."""
    return Bucket(s3_server)


@pytest.fixture
def new_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewCache:
    """An empty cache."""
    monkeypatch.setenv(CACHE_VARIABLE, "")
    return NewCache(tmp_path)
