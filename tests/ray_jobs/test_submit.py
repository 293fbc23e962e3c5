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
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from core.manifest import Manifest
from core.yaml_reader import read_yaml
from tests.ray_jobs.conftest import alive, cli_command

METRICS = "TEST_METRICS_URL"
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
        gcs, dashboard, metrics = free_port(), free_port(), free_port()
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
                    f"--metrics-export-port={metrics}",
                ],
                env=environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            wait_for_port(dashboard, process, log)
            yield {
                **environment,
                "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
                METRICS: f"http://127.0.0.1:{metrics}/metrics",
            }
        finally:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
            for member in family:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            wait_until(lambda: not any(map(alive, family)))


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < 120:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def astromill(head: dict[str, str], checkout: Path, *arguments: str) -> str:
    """Runs the command line as a client of the head; returns what it wrote."""
    done = subprocess.run(
        cli_command(*arguments),
        cwd=checkout, env={**head, "COLUMNS": "200"}, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_job_is_submitted_stopped_and_goes_on(
    head: dict[str, str],
    tmp_path: Path,
    checkout: Path,
    write_recipe: Callable[[Path], Path],
) -> None:
    run_dir = tmp_path / "run"
    train = json.dumps(read_yaml(write_recipe(run_dir).read_text())["train"])
    notes = sorted((checkout / "samples" / "astronomy").glob("[a-g]*.md"))
    source = {"kind": "markdown", "name": "notes", "paths": ["samples/astronomy/[a-g]*.md"]}
    values = tuple(
        part
        for value in (
            f"run_dir={run_dir}",
            f"train={train}",
            f"corpus.sources={json.dumps([{**source, 'license': 'CC0-1.0'}])}",
        )
        for part in ("--set", value)
    )
    job = ("recipes/demo.yaml", "--job", "build_corpus", "--python", sys.executable, *values)

    # The client waits for the head's first agent, so nothing has to be tried again here.
    name = astromill(head, checkout, "submit", *job, "--detach").splitlines()[0]
    wait_until(lambda: (run_dir / "corpus/ingest").exists())
    assert "stopped" in astromill(head, checkout, "jobs", "stop", name)
    assert not (run_dir / "corpus/tokens/manifest.json").exists()

    with ThreadPoolExecutor(1) as others:
        following = others.submit(astromill, head, checkout, "submit", *job)
        exported = {""}
        while not following.done():
            exported |= set(metric_lines(head[METRICS]))
            time.sleep(0.5)
    said = following.result()
    assert "corpus.tokens" in said
    assert "done" in said
    assert any(
        'run="demo"' in line.lower() and "ray_astromill_units_done" in line for line in exported
    ), exported
    manifest = Manifest.require(run_dir / "corpus/tokens", "corpus.tokens")
    assert manifest.rows_in == len(notes) > 3
    assert manifest.metrics["tokens"] > 1_000

    # Ray's own command does the same.
    command = [
        *RAY, "job", "submit", "--working-dir", ".", "--",
        sys.executable, "-m", "ray_jobs.build_corpus", "recipes/demo.yaml", *values,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=checkout, env=head, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert "0 stages ran" in done.stdout

    listed = astromill(head, checkout, "jobs", "list")
    assert name in listed
    assert (listed.count("stopped"), listed.count("succeeded")) == (1, 2)
    assert "corpus.catalog" in astromill(head, checkout, "jobs", "logs", name, "--no-follow")

    failing = subprocess.run(
        cli_command("submit", *job, "--python", "/no/such/python"),
        cwd=checkout, env=head, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert failing.returncode == 1
    assert "the job ended as failed" in failing.stderr


def metric_lines(url: str) -> list[str]:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return [line for line in answer.read().decode().splitlines() if "astromill" in line]
    return []


def wait_until(condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < 120
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--set run_dir=/shared"),
        (("--job", "no_such"), "build_corpus"),
        (("--working-dir", "samples"), "--working-dir"),
        (("--set", "run_dir=/tmp/x", "--address", "http://127.0.0.1:9"), "--address"),
    ],
)
def test_what_cannot_be_submitted_is_said_before_anything_is_sent(
    cli: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...], says: str
) -> None:
    done = cli("submit", "recipes/demo.yaml", *arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
