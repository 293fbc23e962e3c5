"""A server that is killed in the middle and started again; and a client that is.

With a small HTTP server in a process of its own; ``test_openai.py`` does it to vLLM's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineError
from core.llm import GenerateRequest, Generation, open_engine
from core.llm.cache import RequestLog, cached_generate
from core.recipe.engine import Engine as EngineConfig
from tests.core.llm.server_process import (
    Journal,
    ServerProcess,
    in_thread,
    journal_server,
    wait_until,
)

REQUESTS = 240
ANSWERS = 60
CONCURRENCY = 16


def config(url: str, **values: Any) -> EngineConfig:
    return EngineConfig.model_validate(
        {"kind": "openai", "model": "tiny", "base_url": url, "max_concurrency": CONCURRENCY}
        | values
    )


def requests(number: int) -> list[GenerateRequest]:
    return [GenerateRequest(({"role": "user", "content": f"q{n}"},)) for n in range(number)]


def generate(url: str, log: Path, number: int = REQUESTS, **values: Any) -> list[Generation]:
    setting = config(url, **values)
    with RequestLog(log) as request_log:
        return cached_generate(
            open_engine(setting), setting.sampling, requests(number), request_log
        )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def server(tmp_path: Path, journal: Journal) -> Iterator[ServerProcess]:
    server = journal_server(tmp_path / "server.log", journal.path, "--seconds", "0.05")
    try:
        # It answers so many and no more: whoever kills it there finds the client at work.
        server.start("--answers", str(ANSWERS))
        yield server
    finally:
        server.kill()


def test_a_killed_server_is_waited_for(
    server: ServerProcess, journal: Journal, tmp_path: Path
) -> None:
    thread, found = in_thread(lambda: generate(server.url, tmp_path / "log.jsonl"))
    wait_until(lambda: journal.answered() >= ANSWERS)
    server.kill()
    time.sleep(1.0)
    assert thread.is_alive()
    server.start()
    thread.join(300)
    (answers,) = found
    assert [answer.error for answer in answers] == [None] * REQUESTS
    assert len({answer.text for answer in answers}) == REQUESTS
    journal.check(REQUESTS, CONCURRENCY)


def test_a_server_that_stays_away_stops_the_run_and_loses_no_answer(
    server: ServerProcess, journal: Journal, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    setting = config(server.url, server_wait_seconds=1.0)
    engine = open_engine(setting)

    def ask() -> list[Generation]:
        with RequestLog(log) as request_log:
            return cached_generate(engine, setting.sampling, requests(REQUESTS), request_log)

    thread, found = in_thread(ask)
    wait_until(lambda: journal.answered() >= ANSWERS)
    server.kill()
    thread.join(300)
    (error,) = found
    assert isinstance(error, EngineError)
    assert "has been away for" in error.what
    assert "server_wait_seconds" in error.remedy
    # The next shard does not wait as long again.
    with pytest.raises(EngineError, match="has been away for") as again:
        ask()
    assert again.value is error
    server.start()
    assert [answer.error for answer in ask()] == [None] * REQUESTS
    journal.check(REQUESTS, CONCURRENCY)


def test_a_killed_client_sends_again_only_what_was_in_flight(
    server: ServerProcess, journal: Journal, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    code = "import sys; from pathlib import Path; import tests.core.llm.test_server_killed as t; "
    code += "t.generate(sys.argv[1], Path(sys.argv[2]))"
    client = subprocess.Popen(
        [sys.executable, "-c", code, server.url, str(log)], start_new_session=True
    )
    try:
        wait_until(lambda: journal.answered() >= ANSWERS)
    finally:
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
    server.kill()
    server.start()
    logged = [line for line in log.read_text().splitlines() if '"key"' in line]
    answers = generate(server.url, log)
    assert [answer.error for answer in answers] == [None] * REQUESTS
    asked = Counter(name for event, name in journal.lines() if event == "asked")
    # What the server had answered and the client had not yet written is in flight too.
    assert sum(asked.values()) <= REQUESTS + 2 * CONCURRENCY + 1
    assert sum(asked.values()) - REQUESTS <= REQUESTS - len(logged)
    assert len(asked) == REQUESTS
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({e["key"] for e in entries if "key" in e}) == REQUESTS
    assert sum("key" in e for e in entries) == REQUESTS
