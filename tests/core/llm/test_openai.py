"""The client against a real server: vLLM's, on the loopback, with a tiny random Llama."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.errors import EngineError
from core.llm import Engine, GenerateRequest, ScoreRequest, open_engine
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling

KEY = "a-key-that-nobody-may-log"
START_SECONDS = 240
USER = ({"role": "user", "content": "Which planet is the largest?"},)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "maxLength": 8},
        "answer": {"type": "string", "maxLength": 4},
    },
    "required": ["question", "answer"],
    "additionalProperties": False,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(url: str, **values: Any) -> EngineConfig:
    sampling = Sampling(temperature=1.0, max_tokens=80)
    return EngineConfig(kind="openai", model="tiny", base_url=url, sampling=sampling, **values)


@pytest.fixture(scope="module")
def server(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running server; its whole process group ends with the tests."""
    port, log = free_port(), tmp_path_factory.mktemp("server") / "server.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--model", str(tiny_folder)]
    command += ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager"]
    command += ["--structured-outputs-config"]
    command += ['{"backend": "xgrammar", "disable_any_whitespace": true}', "--api-key", KEY]
    environment = os.environ | {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, kind)
                process.wait(timeout=20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    tail = log.read_text(encoding="utf-8", errors="replace")[-6000:]
    pytest.fail(f"the server did not start (exit code {process.poll()}):\n{tail}")


@pytest.fixture
def engine(server: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("TINY_KEY", KEY)
    return open_engine(config(server, api_key_env="TINY_KEY", max_concurrency=4))


def test_answers_fit_the_schema_and_a_bad_request_stands_alone(engine: Engine) -> None:
    long = ({"role": "user", "content": "planet " * 500},)
    requests = [GenerateRequest(USER, schema=SCHEMA, seed=n % 3) for n in range(12)]
    answers = engine.generate([*requests, GenerateRequest(long), GenerateRequest(USER)])
    for answer in answers[:12]:
        assert (answer.finish_reason, answer.error) == ("stop", None)
        # Under maxLength, xgrammar lets control characters into strings unescaped.
        jsonschema.validate(json.loads(answer.text, strict=False), SCHEMA)
        assert answer.prompt_tokens > 0
        assert answer.completion_tokens > 0
    assert answers[0].text == answers[3].text != answers[1].text
    assert "BadRequestError" in str(answers[12].error)
    assert answers[13].error is None


def test_scores_equal_the_transformers_engine(engine: Engine, tiny_folder: Path) -> None:
    local = EngineConfig(kind="transformers", model="tiny", dtype="float32")
    requests = [
        ScoreRequest("Jupiter is the largest planet"),
        ScoreRequest(" has rings", prefix="Saturn"),
        ScoreRequest("Titan", messages=USER),
        ScoreRequest(""),
    ]
    theirs = open_engine(local, str(tiny_folder)).score(requests)
    for ours, expected in zip(engine.score(requests), theirs, strict=True):
        assert ours.error is None
        assert ours.logprobs == pytest.approx(expected.logprobs, rel=1e-3)


def test_it_works_where_an_event_loop_runs(engine: Engine) -> None:
    async def inside() -> str | None:
        return engine.generate([GenerateRequest(USER)])[0].error

    assert asyncio.run(inside()) is None


def test_a_model_the_server_lacks_is_named(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    with pytest.raises(EngineError, match="no model 'huge'") as caught:
        open_engine(config(server, api_key_env="TINY_KEY"), "huge")
    assert "tiny" in caught.value.remedy


def test_a_wrong_key_is_refused_and_never_shown(
    server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TINY_KEY", "wrong-key-value")
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineError, match="does not answer") as e:
        open_engine(config(server, api_key_env="TINY_KEY"))
    assert "wrong-key-value" not in caplog.text + str(e.value) + e.value.remedy


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(EngineError, match="TINY_KEY is not set"):
        open_engine(config("http://127.0.0.1:9/v1", api_key_env="TINY_KEY"))


def test_no_server_is_said_at_once() -> None:
    url, start = f"http://127.0.0.1:{free_port()}/v1", time.monotonic()
    with pytest.raises(EngineError, match="does not answer") as caught:
        open_engine(config(url))
    assert time.monotonic() - start < 5
    assert caught.value.where == url
