"""Objects on a real server: moved whole, and every fault in plain words."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import InputError
from core.storage import backends
from core.storage.inputs import locate, name_of
from core.storage.remote import Remote, open_remote
from core.storage.urls import parse_url
from tests.core.storage.bucket import Bucket, NewCache

NAMES = ["a.txt", "x/b c.txt", "x/é%20?#.txt", "x/y/z=1&q.txt"]


def exercise(remote: Remote, tmp_path: Path) -> None:
    """Put, list, look at, get and delete objects."""
    source = tmp_path / "source"
    for number, name in enumerate(NAMES):
        source.write_bytes(b"%d" % number * (number + 1))
        remote.put(source, name)
    assert [(o.name, o.bytes) for o in remote.listed()] == sorted(
        (name, number + 1) for number, name in enumerate(NAMES)
    )
    assert {o.name for o in remote.listed("x")} == set(NAMES[1:])
    assert remote.listed("nothing") == []
    target = tmp_path / "below" / "target"
    remote.get(NAMES[2], target)
    assert target.read_bytes() == b"222"
    found, missing = remote.stats([NAMES[1], "no"])
    assert (found.bytes, missing) == (2, None) if found else False
    remote.delete(NAMES[1])
    remote.delete(NAMES[1])
    assert remote.stat(NAMES[1]) is None
    with pytest.raises(InputError, match="no such object"):
        remote.get("no", target)
    assert target.read_bytes() == b"222"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_objects_on_s3(bucket: Bucket, tmp_path: Path) -> None:
    exercise(bucket.remote("some/place"), tmp_path)


def test_objects_through_fsspec(tmp_path: Path) -> None:
    exercise(open_remote(f"local://{tmp_path}/there"), tmp_path)


def test_endpoint_of_the_environment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.write("x/a", b"abc")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{bucket.server}")
    found = Remote(parse_url(f"s3://{bucket.name}/x")).stat("a")
    assert found
    assert found.bytes == 3


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A folder behind HTTP on loopback."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_file_behind_http_is_copied(web: str, tmp_path: Path, new_cache: NewCache) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("there")
    path = locate(tmp_path, f"{web}/data/a.txt")
    assert path.read_text() == "there"
    assert path.is_relative_to(new_cache.folder)
    assert name_of(tmp_path, path) == f"{web}/data/a.txt"


def fault(url: str) -> InputError:
    with pytest.raises(InputError) as caught:
        Remote(parse_url(url)).put(Path(__file__), "x")
    return caught.value


def test_missing_bucket(bucket: Bucket) -> None:
    error = fault(bucket.url("x").replace(bucket.name, "not-there"))
    assert error.what == "there is no bucket s3://not-there"
    assert error.where == "s3://not-there/x/x"


def test_wrong_port(bucket: Bucket) -> None:
    error = fault(bucket.url("x", endpoint_override="127.0.0.1:1"))
    assert "does not answer" in error.what
    assert "AWS_ENDPOINT_URL" in error.remedy


def test_server_that_never_answers(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(backends, "_SDK_TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = bucket.url("x", endpoint_override=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(InputError, match="does not answer"):
            Remote(parse_url(url)).stat("x")


def test_no_credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="no credentials") as caught:
        Remote(parse_url(bucket.url("x")))
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
    Remote(parse_url(bucket.url("x", anonymous="true")))


def test_unknown_scheme() -> None:
    with pytest.raises(InputError, match="nothing here reads gopher://"):
        open_remote("gopher://host/x")
