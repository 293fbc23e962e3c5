"""A small Hugging Face Hub on loopback: the requests that an upload without Xet makes."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_secretSecretSecret"
LARGE = ("*.parquet", "*.safetensors", "*.png")

Files = dict[str, bytes]


@dataclass
class Repo:
    private: bool
    branches: dict[str, Files] = field(default_factory=lambda: {"main": {}})
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the server holds and saw.

    ``refuse`` may answer an upload of the object with that hash with an error status.
    """

    endpoint: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    refuse: Callable[[str], int | None] = lambda _: None

    def add(self, kind: str, name: str, files: Files, *, private: bool = False) -> Repo:
        repo = self.repos[kind, name] = Repo(private, {"main": dict(files)})
        for content in files.values():
            self.objects[hashlib.sha256(content).hexdigest()] = content
        return repo

    def save(self, kind: str, name: str, folder: Path, branch: str = "main") -> Path:
        """Writes a repository's files, as a download would."""
        for path, content in self.repos[kind, name].branches[branch].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _is_large(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in LARGE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        """Stays quiet."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        body = self._body()
        path = self.path.partition("?")[0]
        self.hub.seen.append(f"{method} {path}")
        if path.startswith("/lfs/"):
            # A real Hub's storage knows no token: the address is the permission.
            self._store(path.removeprefix("/lfs/"), body)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._reply(401, {"error": "Invalid user token."})
        else:
            self._reply(*self._answer(method, path, body))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _store(self, oid: str, body: bytes) -> None:
        status = self.hub.refuse(oid)
        if status is None and hashlib.sha256(body).hexdigest() != oid:
            status = 422
        if status is None:
            self.hub.objects[oid] = body
            self.hub.uploads.append(oid)
        self._reply(status or 200, {"error": "refused"} if status else {})

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            self.hub.cards.append(json.loads(body)["content"])
            return 200, {"warnings": [], "errors": []}
        batch = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        if batch:
            return 200, self._batch(json.loads(body))
        called = re.fullmatch(r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/(\w+)(?:/(.+))?)?", path)
        if called is None:
            return 404, {"error": f"no {path}"}
        kind, name, action, rest = called.groups()
        repo = self.hub.repos.get((kind, name))
        if repo is None:
            return 404, {"error": "Repository not found"}
        if method == "GET" and action in (None, "revision"):
            return 200, {"id": name, "private": repo.private, "sha": "c" * 40, "siblings": []}
        if action == "branch":
            return self._branch(repo, rest)
        files = repo.branches.get((rest or "main").replace("%2F", "/"))
        if files is None:
            return 404, {"error": "Revision not found"}
        if action == "tree":
            return 200, [_listed(path, content) for path, content in files.items()]
        if action == "preupload":
            return 200, {"files": [_mode(f["path"], files) for f in json.loads(body)["files"]]}
        assert action == "commit", path
        return self._commit(repo, kind, name, files, body)

    def _create(self, data: dict[str, Any]) -> tuple[int, Any]:
        name, kind = f"{data['organization']}/{data['name']}", data.get("type", "model")
        url = f"{self.hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.hub.repos:
            return 409, {"error": "You already created this repo", "url": url}
        if data["organization"] == "others":
            return 403, {"error": "You don't have the rights to create a repo there"}
        private = data.get("visibility") == "private" or bool(data.get("private"))
        self.hub.add(kind, name, {}, private=private)
        return 200, {"url": url}

    def _branch(self, repo: Repo, name: str) -> tuple[int, Any]:
        if name in repo.branches:
            return 409, {"error": "Reference already exists"}
        repo.branches[name] = dict(repo.branches["main"])
        return 200, {}

    def _batch(self, data: dict[str, Any]) -> dict[str, Any]:
        objects = []
        for asked in data["objects"]:
            one = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.objects:
                href = f"{self.hub.endpoint}/lfs/{asked['oid']}"
                one["actions"] = {"upload": {"href": href, "header": {}}}
            objects.append(one)
        return {"transfer": "basic", "objects": objects}

    def _commit(
        self, repo: Repo, kind: str, name: str, files: Files, body: bytes
    ) -> tuple[int, Any]:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                repo.commits.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        oid = f"{len(repo.commits):040x}"
        url = f"{self.hub.endpoint}/{kind}s/{name}/commit/{oid}"
        return 200, {"commitUrl": url, "commitOid": oid, "pullRequestUrl": None}


def _listed(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": _git_oid(content)}


def _mode(path: str, files: Files) -> dict[str, Any]:
    mode: dict[str, Any] = {"path": path, "shouldIgnore": False}
    mode["uploadMode"] = "lfs" if _is_large(path) else "regular"
    if path in files:
        content = files[path]
        large = _is_large(path)
        mode["oid"] = hashlib.sha256(content).hexdigest() if large else _git_oid(content)
    return mode


@contextmanager
def open_hub() -> Iterator[Hub]:
    """Serves a Hub until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
