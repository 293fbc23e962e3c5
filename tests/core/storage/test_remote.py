"""Objects on a real server: moved whole, and every fault in plain words."""

from __future__ import annotations

import errno
import functools
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.disk import DiskFullError
from core.errors import InputError
from core.storage import backends, remote
from core.storage.inputs import forget_inputs, locate, name_of
from core.storage.remote import Remote, StorageError, each_at_once, open_remote
from core.storage.urls import parse_url
from tests.core.storage.bucket import Bucket, NewCache

NAMES = ["a.txt", "x/b c.txt", "x/é%20?#.txt", "x/y/z=1&q.txt"]


def exercise(place: Remote, tmp_path: Path) -> None:
    """Put, list, look at, get and delete objects."""
    source = tmp_path / "source"
    for number, name in enumerate(NAMES):
        source.write_bytes(b"%d" % number * (number + 1))
        place.put(source, name)
    assert [(o.name, o.bytes) for o in place.listed()] == sorted(
        (name, number + 1) for number, name in enumerate(NAMES)
    )
    assert {o.name for o in place.listed("x")} == set(NAMES[1:])
    assert place.listed("nothing") == []
    target = tmp_path / "below" / "target"
    place.get(NAMES[2], target)
    assert target.read_bytes() == b"222"
    found, missing = place.stats([NAMES[1], "no"])
    assert (found.bytes, missing) == (2, None) if found else False
    place.delete(NAMES[1])
    place.delete(NAMES[1])
    assert place.stat(NAMES[1]) is None
    with pytest.raises(InputError, match="no such object"):
        place.get("no", target)
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


def test_changed_file_behind_http_is_noticed(web: str, tmp_path: Path, new_cache: NewCache) -> None:
    path = tmp_path / "a.txt"
    for number, text in enumerate(("one", "two")):
        path.write_text(text)
        # This server tells no tag, only the second.
        os.utime(path, (number, number))
        forget_inputs()
        assert locate(tmp_path, f"{web}/a.txt").read_text() == text


class _BusyOnce(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        _BusyOnce.asked += 1
        self.send_response(503 if self.asked == 1 else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


def test_server_that_is_busy_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_FIRST_PAUSE_SECONDS", 0.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _BusyOnce) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Remote(parse_url(f"http://127.0.0.1:{server.server_port}")).get("a", tmp_path / "a")
        server.shutdown()
    assert (tmp_path / "a").read_text() == "ok"


def test_a_large_file_may_take_its_time() -> None:
    limits = backends._http_options()["client_kwargs"]["timeout"]
    assert limits.total is None
    assert limits.sock_read == backends.REQUEST_SECONDS


@pytest.mark.parametrize(
    ("text", "says", "whole"),
    [
        ("AWS Error INTERNAL_FAILURE during HeadObject operation", "the storage fails", True),
        ("AWS Error UNKNOWN (HTTP status 503) during PutObject", "the storage fails", True),
        ("AWS Error INVALID_OBJECT_STATE during GetObject", "the storage fails", False),
        ("AWS Error ACCESS_DENIED during HeadObject operation", "refuses", True),
        ("AWS Error UNKNOWN (HTTP status 403) during GetObject", "refuses", True),
        ("AWS Error UNKNOWN (HTTP status 400): ExpiredToken Message: it has", "refuses", True),
        ("AWS Error REQUEST_TIME_TOO_SKEWED during GetObject", "clock is wrong", True),
        ("AWS Error NETWORK_CONNECTION: curlCode: 28", "does not answer", True),
    ],
)
def test_faults_in_plain_words(text: str, says: str, whole: bool) -> None:
    url = "s3://bucket/papers?anonymous=true&endpoint_override=127.0.0.1:1"
    # Digits in the names of papers mean nothing.
    error = OSError(f"When reading key 'papers/0704.0401.pdf' in bucket 'bucket': {text}")
    found = open_remote(url)._explained(error, "2403.0403.pdf")
    assert says in found.what
    assert isinstance(found, StorageError) == whole, "ends the stage and not only a shard"


def test_full_disk_here_is_no_fault_of_the_storage(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("x/a", b"abc")

    def full(name: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found = Remote(parse_url(bucket.url("x")))
    found._backend.get = full  # type: ignore[method-assign]
    with pytest.raises(DiskFullError, match="is full"):
        found.get("a", tmp_path / "a")


def test_copy_that_may_not_be_written_is_no_fault_of_the_storage(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.write("x/a", b"abc")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="copy on this node cannot be used") as caught:
        bucket.remote("x").get("a", tmp_path / "file" / "a")
    assert "ASTROMILL_CACHE" in caught.value.remedy


def test_put_that_is_cut_short_leaves_no_object(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 30)

    def cut(source: Path) -> Iterator[bytes]:
        yield b"x" * 10
        raise KeyboardInterrupt

    monkeypatch.setattr(backends, "_parts", cut)
    with pytest.raises(KeyboardInterrupt):
        bucket.remote("x").put(tmp_path / "a", "a")
    assert bucket.read("x") == {}


def test_file_that_is_gone_costs_no_object(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("x/a", b"good")
    with pytest.raises(InputError, match="cannot be read") as caught:
        bucket.remote("x").put(tmp_path / "gone", "a")
    assert caught.value.where == str(tmp_path / "gone")
    assert bucket.read("x") == {"a": b"good"}


def test_name_that_arrow_does_not_take_is_a_clear_error(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Empty path component"):
        bucket.remote("x").get("a//b", tmp_path / "a")


def test_many_items_are_handed_out_a_few_at_a_time() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5000):
            taken.append(number)
            yield number

    found = each_at_once(lambda number: -number, items())
    assert next(found) == 0
    assert len(taken) < 5000
    assert [*found] == [-number for number in range(1, 5000)]


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
