"""vLLM's own OpenAI server as a process of ours: started, watched until it answers, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import EngineError
from core.loopback import loopback_settings

_MODULE = "vllm.entrypoints.openai.api_server"
_PLUGIN = "core.talk.vllm_reasoning"

_CPU_ENVIRONMENT = {
    # vLLM else pins its threads to cores that a neighbour may use.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""Set on machines without a GPU unless the user has; the cache is in GiB."""

_POLL_SECONDS = 0.2
_STOP_SECONDS = 20.0
_LOG_CHARS = 4000


@dataclass(frozen=True)
class VllmOptions:
    """How vLLM's server is started.

    Args:
        model: folder or hub id.
        name: of the model, as clients write it.
        host: address to listen on.
        port: to listen on; 0: one that is free.
        key: that clients must send, or None.
        hide_reasoning: leave reasoning out of answers.
        max_model_len: context in tokens; None: the model's own.
        dtype: of the weights.
        tensor_parallel_size: GPUs that share the model.
        on_cpu: start it as machines without a GPU need it.
        start_seconds: how long loading may take; 70B models take minutes.
        extra: further arguments of vLLM's own.
    """

    model: str
    name: str
    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = None
    hide_reasoning: bool = False
    max_model_len: int | None = None
    dtype: str = "auto"
    tensor_parallel_size: int = 1
    on_cpu: bool = True
    start_seconds: float = 1800.0
    extra: tuple[str, ...] = field(default=())

    def command(self, port: int) -> list[str]:
        """Returns the arguments after the Python executable; the key is not among them."""
        structured = {
            "backend": "xgrammar",
            # Free white space would let a weak model fill its budget with blanks.
            "disable_any_whitespace": True,
            # A schema holds from the first token: what reasons is not known by tokens.
            "enable_in_reasoning": True,
        }
        command = ["-m", _MODULE, "--host", self.host, "--port", str(port)]
        command += ["--model", self.model, "--served-model-name", self.name]
        command += ["--dtype", self.dtype, "--tensor-parallel-size", str(self.tensor_parallel_size)]
        command += ["--reasoning-parser-plugin", _PLUGIN, "--reasoning-parser"]
        command += ["astromill_hidden" if self.hide_reasoning else "astromill"]
        command += ["--structured-outputs-config", json.dumps(structured)]
        if self.max_model_len is not None:
            command += ["--max-model-len", str(self.max_model_len)]
        if self.on_cpu:
            # Compiling gains nothing there, and a prompt read in parts that draws with a seed of
            # its own kills vLLM 0.32.
            command += ["--enforce-eager", "--no-enable-chunked-prefill"]
        return [*command, *self.extra]

    def environment(self) -> dict[str, str]:
        """Returns the process's environment."""
        import core

        root = str(Path(str(core.__file__)).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        # vLLM takes any key it finds there: ours, or none.
        found.pop("VLLM_API_KEY", None)
        if self.key is not None:
            found["VLLM_API_KEY"] = self.key
        # No usage report is sent: nobody was asked.
        found.setdefault("VLLM_NO_USAGE_STATS", "1")
        # All its processes are on this machine.
        for name, value in loopback_settings().items():
            found.setdefault(name, value)
        if self.on_cpu:
            for name, value in _CPU_ENVIRONMENT.items():
                found.setdefault(name, value)
        return found


class VllmServer:
    """vLLM's server in a process group of its own, its output in a file.

    Args:
        options: how it is started.
        log: file that its output goes to.
    """

    def __init__(self, options: VllmOptions, log: Path) -> None:
        self.port = options.port or free_port(options.host)
        self.log = log
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of it on this machine, without ``/v1``."""
        host = self._options.host
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{self.port}"

    def start(self, waiting: Callable[[float], None] = lambda seconds: None) -> None:
        """Starts it and waits until it answers.

        Args:
            waiting: called now and then with the seconds that have gone by.

        Raises:
            EngineError: it ends instead, or takes too long.
        """
        if not port_is_free(self._options.host, self.port):
            raise EngineError(
                f"port {self.port} is in use",
                where=f"{self._options.host}:{self.port}",
                remedy="end what listens there, or choose another one: --port",
            )
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, *self._options.command(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._options.environment(),
                # Ctrl-C is for us: we end it in order.
                start_new_session=True,
            )
        started = time.monotonic()
        while not self._answers():
            seconds = time.monotonic() - started
            waiting(seconds)
            if self._process.poll() is not None:
                raise self._failed(f"vLLM ended with exit code {self._process.returncode}")
            if seconds > self._options.start_seconds:
                self.stop()
                raise self._failed(f"vLLM did not answer within {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def wait(self) -> int:
        """Waits until it ends; returns its exit code."""
        assert self._process is not None
        return self._process.wait()

    def stop(self) -> None:
        """Ends it and all its children, politely first."""
        process = self._process
        if process is None:
            return
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, kind)
                process.wait(timeout=_STOP_SECONDS)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        # Its engine process is of the group, too, and may outlive the first.
        self._process = None

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/health", timeout=2):
                return True
        except urllib.error.HTTPError as error:
            return error.code in (401, 403)
        except OSError:
            return False

    def _failed(self, what: str) -> EngineError:
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARS:]
        errors = [line for line in tail.splitlines() if "Error" in line]
        said = f": {errors[-1].strip()[:300]}" if errors else ""
        return EngineError(
            what + said,
            where=str(self.log),
            remedy="its log says more; check memory, --max-model-len and --dtype",
        )


def vllm_is_installed() -> bool:
    """Returns whether vLLM can be found; it is not imported, which takes seconds."""
    from importlib.util import find_spec

    return find_spec("vllm") is not None


def free_port(host: str) -> int:
    """Returns a port of an address that nobody listens on."""
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def port_is_free(host: str, port: int) -> bool:
    """Returns whether a port can be listened on."""
    with _socket(host) as probe:
        # As servers do: a port whose last connections are closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
