"""Copies of objects: changes are noticed, odd names lead nowhere, what was killed is swept."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.storage import backends, cache
from core.storage.inputs import find_at_url, forget_inputs, locate
from core.storage.remote import Remote
from core.storage.urls import parse_url
from tests.core.storage.bucket import Bucket, NewCache


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """All that is put now is put within the same second."""
    from moto.s3 import models

    now = models.utcnow()
    monkeypatch.setattr(models, "utcnow", lambda: now)
    assert isinstance(now, datetime)
    return now


def again(url: str) -> Path:
    """Looks at a URL as a new process would."""
    forget_inputs()
    return locate(Path(), url)


def seen(url: str) -> bytes:
    return again(url).read_bytes()


def gets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes what is fetched from here on."""
    found: list[str] = []
    get = Remote.get

    def noted(remote: Remote, name: str, target: Path) -> None:
        found.append(name)
        get(remote, name, target)

    monkeypatch.setattr(Remote, "get", noted)
    return found


def test_object_written_anew_within_a_second_is_noticed(
    bucket: Bucket, new_cache: NewCache, one_second: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("data/a.md", b"old")
    file, folder = bucket.url("data/a.md"), bucket.url("data")
    assert seen(file) == b"old"
    bucket.write("data/a.md", b"new")
    assert seen(file) == b"new"
    fetched = gets(monkeypatch)
    assert seen(file) == b"new"
    assert (locate(Path(), folder) / "a.md").read_bytes() == b"new"
    assert fetched == [], "one that has not changed is not fetched again"
    # Once it is old, its copy is known without asking for a tag, and not fetched either.
    monkeypatch.setattr(cache, "_YOUNG_SECONDS", -1.0)
    assert seen(file) == b"new"
    monkeypatch.setattr(Remote, "tagged", lambda *_: pytest.fail("no tag is needed"))
    assert seen(file) == b"new"
    assert fetched == []


class _LikeMinio(BaseHTTPRequestHandler):
    """One object, whose time has milliseconds in listings and none by itself."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 23:44:10 GMT")
        self.end_headers()

    def do_GET(self) -> None:
        text = (
            '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents>'
            "<Key>a</Key><Size>3</Size><LastModified>2026-11-21T23:44:10.789Z</LastModified>"
            "</Contents></ListBucketResult>"
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_an_object_is_the_same_in_a_listing_and_by_itself() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _LikeMinio) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        remote = Remote(parse_url(f"s3://bucket?endpoint_override={address}&scheme=http"))
        assert remote.listed() == [remote.stat("a")]
        server.shutdown()


def test_object_that_changes_while_it_is_read_is_read_again(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("x/a", b"a" * 100)
    monkeypatch.setattr(backends, "_COPY_BYTES", 10)
    copy, times = shutil.copyfileobj, []

    def disturbed(source: Any, out: Any, length: int) -> None:
        times.append(1)
        out.write(source.read(10))
        if len(times) == 1:
            bucket.write("x/a", b"b" * 100)
        copy(source, out, length)

    monkeypatch.setattr(backends.shutil, "copyfileobj", disturbed)
    bucket.remote("x").get("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"b" * 100


def test_names_that_lead_out_of_the_cache_are_left_out(
    bucket: Bucket, new_cache: NewCache, caplog: pytest.LogCaptureFixture
) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://{bucket.server}", region_name="us-east-1")
    for name in ("data/../../../../../out.md", "data//twice.md", "data/good.md"):
        client.put_object(Bucket=bucket.name, Key=name, Body=b"x")
    with caplog.at_level(logging.WARNING):
        folder = locate(Path(), bucket.url("data"))
    assert [path.name for path in folder.rglob("*")] == ["good.md"]
    assert [path.name for path in new_cache.folder.parent.rglob("*.md")] == ["good.md"]
    assert "2 objects are left out" in caplog.text


def test_weights_asked_for_by_name_outlive_a_look_at_their_folder(
    bucket: Bucket, new_cache: NewCache
) -> None:
    bucket.write("model/old.bin", b"weights")
    bucket.write("model/config.json", b"{}")
    named = locate(Path(), bucket.url("model/old.bin"))
    locate(Path(), bucket.url("model"))
    assert named.read_bytes() == b"weights"


def test_what_killed_processes_left_is_swept(bucket: Bucket, new_cache: NewCache) -> None:
    bucket.write("data/a.md", b"x")
    folder = locate(Path(), bucket.url("data"))
    dead, alive = folder / "b.md.tmp-1-dead", folder / "c.md.tmp-2-busy"
    for each in (dead, alive):
        each.write_bytes(b"half")
    then = time.time() - 2 * cache.IDLE_SECONDS
    os.utime(dead, (then, then))
    seen_names = {path.name for path in again(bucket.url("data")).iterdir()}
    assert seen_names == {"a.md", alive.name}


def test_folder_of_many_papers_is_listed_once(
    bucket: Bucket, new_cache: NewCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        bucket.write(f"tex/{number}.tex", b"x")
    listed: list[str] = []
    plain = Remote.listed
    monkeypatch.setattr(
        Remote, "listed", lambda remote, prefix="": listed.append(prefix) or plain(remote, prefix)
    )
    assert len(find_at_url(bucket.url("tex/*.tex"), lambda _: [], "here")) == 4
    assert listed == ["tex", "tex"]


def test_cache_that_cannot_be_written_to_is_named(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("data/a.md", b"x")
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be kept on this node") as caught:
        again(bucket.url("data/a.md"))
    assert cache.CACHE_VARIABLE in caught.value.remedy


def test_disk_without_locks_is_no_hindrance(
    new_cache: NewCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(cache.fcntl, "flock", refused)
    with cache.file_lock(tmp_path / "a"):
        pass
