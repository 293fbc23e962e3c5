"""Secrets planted in the environment of a real run are in nothing that it writes or shows.

The server it asks does its worst: it repeats the key in errors, in answers, and on refusing it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

_MOST_SECONDS = 500
_TEXT = (
    "# Notes on {0}\n\n{0} is a planet of the Solar System. Its orbit takes many years, and its "
    "moons are made of ice. It was seen first by {0}'s old friends, who drew what they saw in the "
    "sky and counted its moons by hand. Nobody has been there; probes went past it twice.\n"
)
_PAIRS = {
    "pairs": [
        {"question": "What is this planet's orbit like?", "answer": "It takes many years."},
        {"question": "What are its moons made of?", "answer": "They are made of ice."},
    ]
}


class _Echo(BaseHTTPRequestHandler):
    """Answers in turn: an error with the request's headers, an answer with the key, pairs."""

    asked = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "echo"}, {"id": "closed"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = f"headers: {dict(self.headers.items())}"
        with self.lock:
            _Echo.asked += 1
            number = self.asked
        if json.loads(body)["model"] == "closed":
            self._send(401, {"error": {"message": said}})
        elif number % 3 == 1:
            self._send(400, {"error": {"message": said}})
        else:
            text = said if number % 3 == 2 else json.dumps(_PAIRS)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}}
            self._send(200, {"choices": [choice], "usage": {"prompt_tokens": 1}})

    def _send(self, status: int, value: Any) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    """Secrets by variable; one variable's name does not tell that it holds one."""
    names = ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "PLANTED_WORD")
    return {name: f"{name[:2].lower()}planted{secrets.token_hex(16)}" for name in names}


@pytest.fixture(scope="module")
def run(
    checkout: Path, planted: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path, str]]:
    """A run with those secrets around it: its folder, Ray's, and what was shown."""
    folder = tmp_path_factory.mktemp("planted")
    notes = folder / "notes"
    notes.mkdir()
    for name in ("Uranus", "Neptune", "Pluto"):
        (notes / f"{name}.md").write_text(_TEXT.format(name))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    engine = {
        "kind": "openai",
        "model": "echo",
        "base_url": f"http://127.0.0.1:{server.server_port}/v1",
        "api_key_env": "PLANTED_WORD",
        "max_concurrency": 1,
        "max_error_share": 1.0,
    }
    recipe = {
        "name": "planted",
        "root": str(folder),
        "run_dir": str(folder / "run"),
        "corpus": {
            "documents_per_shard": 3,
            "sources": [{"kind": "markdown", "name": "notes", "paths": ["notes"]}],
            "repetition": None,
            "perplexity": None,
            "dedup": None,
            "decontaminate": None,
        },
        "train": {"base": {"tiny": {"vocab_size": 300, "hidden_size": 16}}},
        "synth": {"qa": {"engine": engine, "chunk_tokens": 500, "overlap_tokens": 0}},
        "release": {"name": "Planted"},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    # Short, since Ray's sockets lie in it.
    ray_folder = Path(tempfile.mkdtemp(prefix="am-"))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.safety.planted_run", str(path), str(folder / "run")],
            cwd=checkout,
            env={**environment, **planted, "RAY_TMPDIR": str(ray_folder), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=_MOST_SECONDS,
        )
        yield folder, ray_folder, done.stdout + done.stderr
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(ray_folder, ignore_errors=True)


def _files_with(folder: Path, secret: str) -> list[str]:
    """Returns the files that hold a text; Parquet is compressed, so its tables are read."""
    wanted = secret.encode()
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        inside = wanted in path.read_bytes()
        if path.suffix == ".parquet":
            inside = inside or secret in str(pl.read_parquet(path).to_dicts())
        if inside:
            found.append(str(path.relative_to(folder)))
    return found


def test_the_run_met_what_it_was_to_meet(run: tuple[Path, Path, str]) -> None:
    folder, ray_folder, shown = run
    rejects = pl.read_parquet(folder / "run/synth/qa/rejects/part-00000.parquet")
    details = " ".join(rejects["detail"].to_list())
    assert "HTTP 400: headers" in details, shown
    assert "***" in details
    assert "the answer repeats the key" in details
    assert "refuses the key" in shown
    assert "Traceback" in shown
    assert list(ray_folder.rglob("raylet.out")), "Ray's logs are elsewhere"


def test_no_secret_is_written_or_shown(
    run: tuple[Path, Path, str], planted: dict[str, str]
) -> None:
    folder, ray_folder, shown = run
    for name, secret in planted.items():
        assert secret not in shown, name
        assert _files_with(folder, secret) == [], name
        assert _files_with(ray_folder, secret) == [], name
