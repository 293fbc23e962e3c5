"""A bucket of the test's S3 server, and a cache that can be lost."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from core.storage.cache import CACHE_VARIABLE
from core.storage.inputs import forget_inputs
from core.storage.mirror import forget_mirrors
from core.storage.remote import Remote, open_remote


class Bucket:
    """A bucket of the server, looked at from outside our own code."""

    def __init__(self, server: str) -> None:
        from pyarrow import fs

        self.server = server
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self._fs = fs.S3FileSystem(
            endpoint_override=server, scheme="http", region="us-east-1", allow_bucket_creation=True
        )
        self._fs.create_dir(self.name)

    def url(self, path: str, **more: str) -> str:
        settings = {"endpoint_override": self.server, "scheme": "http", **more}
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        return f"s3://{self.name}/{path}?{query}"

    def remote(self, path: str) -> Remote:
        return open_remote(self.url(path))

    def write(self, name: str, data: bytes) -> None:
        with self._fs.open_output_stream(f"{self.name}/{name}") as out:
            out.write(data)

    def upload(self, folder: Path, path: str) -> None:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.write(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def delete(self, name: str) -> None:
        self._fs.delete_file(f"{self.name}/{name}")

    def read(self, path: str) -> dict[str, bytes]:
        from pyarrow import fs

        found = {}
        selector = fs.FileSelector(f"{self.name}/{path}", recursive=True, allow_not_found=True)
        for info in self._fs.get_file_info(selector):
            if info.type == fs.FileType.File:
                with self._fs.open_input_stream(info.path) as source:
                    found[info.path[len(self.name) + len(path) + 2 :]] = source.read()
        return found


class NewCache:
    """This process's cache."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._count = 0
        self.renew()

    @property
    def folder(self) -> Path:
        return self._base / f"cache-{self._count}"

    def renew(self) -> None:
        """Takes another, empty one, as on a node that has never seen the run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._count += 1
        os.environ[CACHE_VARIABLE] = str(self.folder)
        forget_inputs()
        forget_mirrors()
