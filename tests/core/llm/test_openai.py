"""The client against a real server: vLLM's, on the loopback, with a tiny random Llama."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.errors import EngineError
from core.llm import Engine, GenerateRequest, Generation, ScoreRequest, open_engine
from core.llm.cache import RequestLog, cached_generate
from core.llm.openai_client import answer_text
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from tests.core.llm.engine_checks import check_begun_answers, check_choices, check_plain_prompts
from tests.core.llm.server_process import (
    Journal,
    ServerProcess,
    free_port,
    in_thread,
    journal_server,
    vllm_server,
    wait_until,
)

KEY = "a-key-that-nobody-may-log"
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


def config(url: str, **values: Any) -> EngineConfig:
    sampling = Sampling(temperature=1.0, max_tokens=80)
    return EngineConfig(kind="openai", model="tiny", base_url=url, sampling=sampling, **values)


@pytest.fixture(scope="module")
def process(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server; its whole process group ends with the tests."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    server = vllm_server(tiny_folder, log, "--api-key", KEY)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(process: ServerProcess) -> str:
    return process.url


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
    assert "HTTP 400" in str(answers[12].error)
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


def test_plain_prompts(engine: Engine, tiny_folder: Path) -> None:
    check_plain_prompts(engine, tiny_folder)
    (written,) = engine.generate([GenerateRequest(prompt="a<|eot_id|>")])
    assert "control token" in str(written.error)


def test_begun_answers(engine: Engine, tiny_folder: Path) -> None:
    check_begun_answers(engine, tiny_folder)


def test_thoughts_taken_apart_by_the_server_come_first_again() -> None:
    def read(**message: str | None) -> str:
        return answer_text({"message": message})

    assert read(content="B", reasoning="So B.") == "So B.</think>B"
    assert read(content="B", reasoning_content="So B.") == "So B.</think>B"
    # Cut off while thinking: there is no answer, and no mark that would feign one.
    assert read(content=None, reasoning="So") == "So"
    assert read(content="B", reasoning=None) == "B"
    assert read(content=None) == ""


def test_choices(engine: Engine, tiny_folder: Path) -> None:
    check_choices(engine, tiny_folder)


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
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineError, match="refuses the key") as e:
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
    # Not as one is waited for that goes away during a run.
    assert time.monotonic() - start < config(url).server_wait_seconds / 2
    assert caught.value.where == url


def test_a_killed_vllm_is_waited_for_and_no_answer_is_asked_for_again(
    process: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    journal = Journal(tmp_path / "journal")
    upstream = process.url.removesuffix("/v1")
    gateway = journal_server(tmp_path / "log", journal.path, "--upstream", upstream)
    requests = [GenerateRequest(USER, schema=SCHEMA, seed=n) for n in range(96)]
    log = tmp_path / "requests.jsonl"

    def generate() -> list[Generation]:
        setting = config(gateway.url, api_key_env="TINY_KEY", max_concurrency=8)
        with RequestLog(log) as request_log:
            engine = open_engine(setting)
            return cached_generate(engine, setting.sampling, requests, request_log)

    try:
        gateway.start()
        thread, found = in_thread(generate)
        wait_until(lambda: journal.answered() >= 20)
        process.kill()
        process.start()
        thread.join(300)
    finally:
        gateway.kill()
    (answers,) = found
    for answer in answers:
        assert answer.error is None
        jsonschema.validate(json.loads(answer.text, strict=False), SCHEMA)
    # At the kill, each of the eight in flight fails once, and at most once more at the gateway.
    journal.check(len(requests), 16)
    keys = [json.loads(line).get("key") for line in log.read_text().splitlines()]
    assert len(set(keys) - {None}) == len([key for key in keys if key]) == len(requests)
