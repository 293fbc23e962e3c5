"""A server in a process of its own, to be killed and started again on the same port."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

VLLM_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # Lets the engine's process do the work itself: a process less takes 15 CPU-seconds less.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


def free_port() -> int:
    """Returns a port that nobody listens on.

    Below those that systems give to whoever asks for any: it stays free between two starts.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class ServerProcess:
    """A server started by a command, in a process group of its own.

    Args:
        command: arguments; ``{port}`` stands for the port.
        log: where its output goes.
        health: path that answers when it is up.
        start_seconds: how long to wait for that.
    """

    def __init__(self, command: list[str], log: Path, health: str, start_seconds: float) -> None:
        self.port = free_port()
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._log = log
        self._health = f"http://127.0.0.1:{self.port}{health}"
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of its API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def launch(self, *more: str) -> None:
        """Starts it, with arguments of this start alone, and returns at once."""
        environment = os.environ | VLLM_ENVIRONMENT
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *self._command, *more],
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
            )

    def start(self, *more: str) -> None:
        """Starts it, with arguments of this start alone, and waits until it answers."""
        self.launch(*more)
        assert self._process is not None
        end = time.monotonic() + self._start_seconds
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self._health, timeout=2):
                    return
            except urllib.error.HTTPError:
                return  # it is up, and wants a key
            except OSError:
                time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-6000:]
        self.kill()
        raise AssertionError(f"the server did not start:\n{tail}")

    def kill(self) -> None:
        """Kills it and all its children at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it, politely first."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            self._end(kind)

    def _end(self, kind: signal.Signals) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, kind)
            self._process.wait(timeout=20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def vllm_server(model: Path, log: Path, *arguments: str) -> ServerProcess:
    """Returns vLLM's own server of a tiny model on the CPU, not yet started."""
    command = ["-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--model", str(model)]
    command += ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager"]
    command += ["--distributed-executor-backend", "uni"]
    command += ["--structured-outputs-config"]
    command += ['{"backend": "xgrammar", "disable_any_whitespace": true}', *arguments]
    return ServerProcess(command, log, "/health", 500)


def journal_server(log: Path, journal: Path, *arguments: str) -> ServerProcess:
    """Returns a small server that notes what reaches it, not yet started."""
    command = ["-m", "bench.llm_server", "--port", "{port}", "--journal", str(journal), *arguments]
    return ServerProcess(command, log, "/v1/models", 200)


class Journal:
    """What a server noted: which request came, and which was answered, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[list[str]]:
        """Returns pairs of event and name."""
        return [line.split() for line in self.path.read_text().splitlines()]

    def answered(self) -> int:
        """Returns how many answers went out."""
        return sum(event == "answered" for event, _ in self.lines()) if self.path.exists() else 0

    def check(self, number: int, most_repeated: int) -> None:
        """Every request was answered, and none was asked again after its answer."""
        done: set[str] = set()
        asked: Counter[str] = Counter()
        for event, name in self.lines():
            if event == "asked":
                assert name not in done, "an answered request was sent again"
                asked[name] += 1
            else:
                done.add(name)
        assert len(done) == len(asked) == number
        # Only what was in flight at the kill came twice.
        repeated = sum(count - 1 for count in asked.values())
        assert repeated <= most_repeated, f"{repeated} came twice: {asked.most_common(3)}"


def wait_until(what: Callable[[], bool], seconds: float = 240) -> None:
    """Waits until something is so, not for ever."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Starts work in a thread; its result, or its error, will be the list's only entry."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found
