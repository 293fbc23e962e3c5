"""The client's patience, against a small server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core.llm import GenerateRequest, ScoreRequest, open_engine
from core.llm import openai_client as client_module
from core.recipe.engine import Engine as EngineConfig

REPLY = {"id": "x", "object": "chat.completion", "created": 0, "model": "moody"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class Moody(BaseHTTPRequestHandler):
    """Content ``429 x2`` fails twice with 429; ``400`` always; ``drop`` breaks the connection."""

    seen: dict[str, int]
    busy: list[int]
    lock: threading.Lock

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "moody", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "messages" not in body:
            self._send(
                200, REPLY | {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
            )
            return
        content = body["messages"][-1]["content"]
        with self.lock:
            count = self.seen[content] = self.seen.get(content, 0) + 1
            self.busy[0] += 1
            self.busy[1] = max(self.busy)
        time.sleep(0.02)
        with self.lock:
            self.busy[0] -= 1
        status, _, times = content.partition(" x")
        if status.isdigit() and count <= int(times or 10**6):
            self._send(int(status), {"error": {"message": f"moody {status}"}})
        elif status == "drop" and count <= int(times or 10**6):
            self.close_connection = True
        else:
            message = {"role": "assistant", "content": f"answer to {content}"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send(200, REPLY | {"choices": [choice], "usage": USAGE})

    def _send(self, status: int, value: dict[str, Any]) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_SECONDS", 0.001)
    Moody.seen, Moody.busy, Moody.lock = {}, [0, 0], threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def config(server: ThreadingHTTPServer, concurrency: int = 8) -> EngineConfig:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return EngineConfig(kind="openai", model="moody", base_url=url, max_concurrency=concurrency)


def ask(*contents: str) -> list[GenerateRequest]:
    return [GenerateRequest(({"role": "user", "content": c},)) for c in contents]


def test_passing_failures_are_bridged(server: ThreadingHTTPServer) -> None:
    contents = ("fine", "429 x2", "503 x1", "500 x5", "drop x2")
    answers = open_engine(config(server)).generate(ask(*contents))
    assert [a.text for a in answers] == [f"answer to {c}" for c in contents]
    assert Moody.seen == {"fine": 1, "429 x2": 3, "503 x1": 2, "500 x5": 6, "drop x2": 3}
    assert (answers[0].prompt_tokens, answers[0].completion_tokens) == (3, 2)


def test_lasting_failures_are_errors_of_their_own(server: ThreadingHTTPServer) -> None:
    answers = open_engine(config(server)).generate(ask("400", "429", "drop", "fine"))
    assert "moody 400" in str(answers[0].error)
    assert "moody 429" in str(answers[1].error)
    assert "APIConnectionError" in str(answers[2].error)
    assert answers[3].error is None
    assert Moody.seen == {
        "400": 1,
        "429": client_module.ATTEMPTS,
        "drop": client_module.ATTEMPTS,
        "fine": 1,
    }


def test_no_more_requests_in_flight_than_allowed(server: ThreadingHTTPServer) -> None:
    answers = open_engine(config(server, 3)).generate(ask(*(f"q{n}" for n in range(20))))
    assert [a.text for a in answers] == [f"answer to q{n}" for n in range(20)]
    assert Moody.busy[1] == 3


def test_a_server_without_prompt_logprobs_cannot_score(server: ThreadingHTTPServer) -> None:
    (score,) = open_engine(config(server)).score([ScoreRequest("text")])
    assert "no log-probabilities" in str(score.error)
