"""``ray job submit`` against a real head node on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.manifest import Manifest
from core.yaml_reader import read_yaml

RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def head() -> Iterator[dict[str, str]]:
    """A Ray head of its own on loopback; yields what a client's environment needs."""
    # Ray's sockets live below the folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-") as temporary:
        gcs, dashboard = free_port(), free_port()
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "RAY_USAGE_STATS_ENABLED": "0",
            # See core.session: keeps a node that is asked to live on loopback there.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # A head that others can submit to asks for a token.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        log = Path(temporary) / "head.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *RAY, "start", "--head", "--block", "--num-cpus=2",
                    "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={temporary}",
                    "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
                    # The default one belongs to the session that other tests hold open, and a
                    # head whose agent has no port takes no jobs.
                    f"--dashboard-agent-listen-port={free_port()}",
                ],
                env=environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            wait_for_port(dashboard, process, log)
            yield {**environment, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
        finally:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
            for member in family:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            psutil.wait_procs(family, timeout=20)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < 120:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_submitted_job_builds_the_corpus(
    head: dict[str, str],
    tmp_path: Path,
    checkout: Path,
    write_recipe: Callable[[Path], Path],
) -> None:
    run_dir = tmp_path / "run"
    recipe = write_recipe(run_dir)
    command = [
        *RAY, "job", "submit", "--working-dir", ".", "--",
        sys.executable, "-m", "ray_jobs.build_corpus", "recipes/demo.yaml",
        "--set", f"run_dir={run_dir}",
        "--set", f"train={_train(recipe)}",
    ]  # fmt: skip
    started = time.monotonic()
    while True:
        done = subprocess.run(
            command, cwd=checkout, env=head, capture_output=True, text=True, timeout=400
        )
        # A head takes some seconds from its first open port to its first job.
        if "No available agent" not in done.stderr or time.monotonic() - started > 120:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    manifest = Manifest.require(run_dir / "corpus/tokens", "corpus.tokens")
    assert manifest.rows_in == 48
    assert manifest.metrics["tokens"] > 10_000


def _train(recipe: Path) -> str:
    return json.dumps(read_yaml(recipe.read_text())["train"])
