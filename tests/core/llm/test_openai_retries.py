"""The client's patience, and its limits, against a small server that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core.errors import EngineError
from core.llm import GenerateRequest, Generation, ScoreRequest, http_patience, open_engine
from core.llm.http_patience import pause_seconds, retry_after_seconds
from core.recipe.engine import Engine as EngineConfig

REPLY = {"id": "x", "object": "chat.completion", "created": 0, "model": "moody"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class Moody(BaseHTTPRequestHandler):
    """Content ``429 x2`` fails twice with 429; ``400`` always; ``drop`` breaks the connection.

    ``later`` is a 503 that asks for 0.3 s; ``odd`` answers without an answer, ``html`` no JSON.
    """

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
        busy = self.busy
        with self.lock:
            count = self.seen[content] = self.seen.get(content, 0) + 1
            busy[0] += 1
            busy[1] = max(busy)
        time.sleep(0.02)
        with self.lock:
            busy[0] -= 1
        status, _, times = content.partition(" x")
        status = status.split(" number ")[0]
        if status == "wait":
            self.others_came.wait(300)
        if status.isdigit() and count <= int(times or 10**6):
            self._send(int(status), {"error": {"message": f"moody {status}"}})
        elif status == "later" and count == 1:
            self._send(503, {"error": "not yet"}, {"Retry-After": "0.3"})
        elif status == "odd":
            self._send(200, {"choices": []})
        elif status == "html" and count <= int(times or 10**6):
            self._send(200, "<html>")
        elif status == "drop" and count <= int(times or 10**6):
            self.close_connection = True
        else:
            message = {"role": "assistant", "content": f"answer to {content}"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send(200, REPLY | {"choices": [choice], "usage": USAGE})

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        payload = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that gave up
            self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(http_patience, "FIRST_PAUSE_SECONDS", 0.001)
    Moody.seen, Moody.busy, Moody.lock = {}, [0, 0], threading.Lock()
    Moody.others_came = threading.Event()
    # More connections at once than the five that a server of the library lets wait.
    monkeypatch.setattr(ThreadingHTTPServer, "request_queue_size", 64)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def config(server: ThreadingHTTPServer, **values: Any) -> EngineConfig:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return EngineConfig.model_validate(
        {"kind": "openai", "model": "moody", "base_url": url, "max_concurrency": 8} | values
    )


def ask(*contents: str) -> list[GenerateRequest]:
    return [GenerateRequest(({"role": "user", "content": c},)) for c in contents]


def test_passing_failures_are_bridged(server: ThreadingHTTPServer) -> None:
    contents = ("fine", "429 x2", "503 x1", "500 x5", "drop x2")
    answers = open_engine(config(server)).generate(ask(*contents))
    assert [a.text for a in answers] == [f"answer to {c}" for c in contents]
    assert Moody.seen == {"fine": 1, "429 x2": 3, "503 x1": 2, "500 x5": 6, "drop x2": 3}
    assert (answers[0].prompt_tokens, answers[0].completion_tokens) == (3, 2)


def test_lasting_failures_are_errors_of_their_own(server: ThreadingHTTPServer) -> None:
    engine = open_engine(config(server, server_wait_seconds=0.05))
    answers = engine.generate(ask("400", "429", "500", "drop", "odd", "html", "fine"))
    errors = [str(answer.error) for answer in answers]
    assert errors[0] == "HTTP 400: moody 400"
    assert errors[1] == "HTTP 429: moody 429"
    assert errors[2] == "HTTP 500: moody 500"
    assert "ServerDisconnectedError" in errors[3]
    assert "no answer in the reply" in errors[4]
    assert errors[5] == "the answer is not JSON: <html>"
    assert answers[6].error is None
    tries = http_patience.ATTEMPTS
    # A busy server is asked until the time is up, not a number of times.
    assert Moody.seen.pop("429") > 1
    assert Moody.seen == {
        "400": 1,
        "500": tries,
        "drop": tries,
        "odd": 1,
        "html": tries,
        "fine": 1,
    }


def test_a_server_says_when_to_come_back(server: ThreadingHTTPServer) -> None:
    start = time.monotonic()
    (answer,) = open_engine(config(server)).generate(ask("later"))
    assert answer.text == "answer to later"
    assert time.monotonic() - start >= 0.3
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after_seconds(soon) == pytest.approx(90, abs=2)
    assert retry_after_seconds("12") == 12
    assert retry_after_seconds("soon") is None


def test_pauses_grow_and_are_spread_and_repeatable() -> None:
    first = [pause_seconds(number, 1, None) for number in range(100)]
    assert 0.25 <= min(first) < 0.3 < 0.45 < max(first) <= 0.5
    assert first == [pause_seconds(number, 1, None) for number in range(100)]
    assert 8 <= pause_seconds(3, 6, None) <= 16
    assert pause_seconds(3, 50, None) <= 30
    assert 7 <= pause_seconds(3, 1, 7.0) <= 7.5


def test_too_many_errors_stop_the_run(server: ThreadingHTTPServer) -> None:
    contents = [f"q{n}" for n in range(180)] + [f"400 number {n}" for n in range(400)]
    engine = open_engine(config(server))
    answered: list[Generation] = []

    def read() -> None:
        for _, answer in engine.stream(ask(*contents)):
            answered.append(answer)

    with pytest.raises(EngineError, match="HTTP 400: moody 400") as caught:
        read()
    # 5% of what ended: about ten after the 180 good ones, and what was in flight by then.
    assert "of 19" in caught.value.what or "of 18" in caught.value.what
    assert "max_error_share" in caught.value.remedy
    assert 180 <= len(Moody.seen) <= 210
    assert len([a for a in answered if a.error is None]) == 180
    # The shards that follow are not sent at all.
    before = len(Moody.seen)
    with pytest.raises(EngineError, match="requests failed"):
        engine.generate(ask("fine"))
    assert len(Moody.seen) == before


def test_few_requests_never_stop_it(server: ThreadingHTTPServer) -> None:
    answers = open_engine(config(server)).generate(ask(*(f"400 number {n}" for n in range(99))))
    assert {answer.error for answer in answers} == {"HTTP 400: moody 400"}


def test_a_refused_key_stops_the_run_at_once(server: ThreadingHTTPServer) -> None:
    contents = ["401", *(f"q{n}" for n in range(200))]
    with pytest.raises(EngineError, match="refuses the key"):
        open_engine(config(server)).generate(ask(*contents))
    assert len(Moody.seen) < 50


def test_answers_are_handed_on_as_they_arrive(server: ThreadingHTTPServer) -> None:
    # The first one takes longest; in slices, or in order, all others would wait for it.
    order = []
    for number, _ in open_engine(config(server)).stream(ask("wait", *"abcdefghijklmnop")):
        order.append(number)
        if len(order) == 16:
            Moody.others_came.set()
    assert sorted(order) == list(range(17))
    assert order[-1] == 0


def test_a_stream_given_up_ends_its_requests(server: ThreadingHTTPServer) -> None:
    before = threading.active_count()
    stream = open_engine(config(server, max_concurrency=2)).stream(
        ask(*(f"q{n}" for n in range(100)))
    )
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(Moody.seen) <= 6
    # Only the server's own threads may be left.
    assert threading.active_count() <= before + 4


def test_no_more_requests_in_flight_than_allowed(server: ThreadingHTTPServer) -> None:
    answers = open_engine(config(server, max_concurrency=3)).generate(
        ask(*(f"q{n}" for n in range(20)))
    )
    assert [a.text for a in answers] == [f"answer to q{n}" for n in range(20)]
    assert Moody.busy[1] == 3


def test_a_server_without_prompt_logprobs_cannot_score(server: ThreadingHTTPServer) -> None:
    (score,) = open_engine(config(server)).score([ScoreRequest("text")])
    assert "no log-probabilities" in str(score.error)
