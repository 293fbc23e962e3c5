"""The small server, on loopback, with a real tiny model; asked by our client and by hand."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from core.chat import BadTurnsError
from core.errors import EngineError
from core.talk.conversation import Conversation
from core.talk.local import LocalVoice
from core.talk.reasoning import Part
from core.talk.remote import RemoteVoice
from core.talk.server import ServerLimits, TalkServer
from core.talk.voice import Ask, End
from tests.talk_model import ANSWER, ON, QUESTION, THOUGHT

KEY = "a-key-of-ours"


@contextmanager
def serving(app: web.Application) -> Iterator[str]:
    """Serves in a thread until the block ends; yields the address."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def url(voice: LocalVoice) -> Iterator[str]:
    limits = ServerLimits(max_tokens=40, max_request_bytes=4000)
    with serving(TalkServer(voice, "thinker", limits=limits).app()) as address:
        yield address


def post(url: str, body: Any, key: str | None = None) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def turns(question: str = QUESTION, system: str | None = None) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": question}]


def said(voice: RemoteVoice, ask: Ask) -> tuple[str, str, End]:
    items = [*voice.speak(ask, threading.Event())]
    end = items.pop()
    assert isinstance(end, End)
    parts = [item for item in items if isinstance(item, Part)]
    assert len(parts) > 3, "it comes in pieces"
    texts = ["".join(p.text for p in parts if p.kind == kind) for kind in ("reasoning", "answer")]
    return texts[0].strip(), texts[1], end


def test_our_client_gets_what_the_model_says(url: str, voice: LocalVoice) -> None:
    remote = RemoteVoice(f"{url}/v1")
    assert remote.window == 256
    conversation = Conversation()
    messages = conversation.messages(QUESTION)
    assert remote.count(messages) == voice.count(messages)
    assert remote.tokens(ANSWER) == voice.tokens(ANSWER)
    _, answer, end = said(remote, Ask(messages))
    assert (answer, end.finish_reason) == (ANSWER, "stop")
    assert end.prompt_tokens == voice.count(messages)
    conversation.thinking = True
    for prefill in (False, True):
        ask = Ask(conversation.messages(QUESTION), prefill=prefill)
        reasoning, answer, end = said(remote, ask)
        assert (reasoning, answer) == (THOUGHT, ANSWER)
        assert end.reasoning_tokens
    _, text, _ = said(remote, Ask([], prompt="Titan is a", max_tokens=8))
    assert text


def test_whole_answers_and_plain_completions(url: str) -> None:
    status, value = post(f"{url}/v1/chat/completions", {"messages": turns(system=ON)})
    message = value["choices"][0]["message"]
    assert status == 200
    assert (message["reasoning"], message["content"]) == (THOUGHT, ANSWER)
    usage = value["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    hidden = {"messages": turns(system=ON), "include_reasoning": False}
    _, value = post(f"{url}/v1/chat/completions", hidden)
    assert value["choices"][0]["message"] == {
        "role": "assistant",
        "content": ANSWER,
        "reasoning": None,
    }
    _, value = post(f"{url}/v1/completions", {"prompt": "Titan is", "max_tokens": 3})
    assert value["usage"]["completion_tokens"] == 3
    assert value["choices"][0]["finish_reason"] == "length"
    # More than the server allows is cut down to what it does.
    body = {"prompt": "x", "max_tokens": 10_000, "temperature": 2, "seed": 1}
    _, value = post(f"{url}/v1/completions", body)
    assert value["usage"]["completion_tokens"] <= 40


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("chat/completions", b'{"messages"', 400, "not JSON"),
        ("chat/completions", b"\xff\xfe", 400, "not JSON"),
        ("chat/completions", b"[1]", 400, "not a JSON object"),
        ("chat/completions", b"[" * 3000, 400, "not JSON"),
        ("chat/completions", {}, 400, "messages"),
        ("chat/completions", {"messages": []}, 400, "messages"),
        ("chat/completions", {"messages": turns(), "model": "gpt"}, 400, "no model 'gpt'"),
        ("chat/completions", {"messages": turns(), "n": 2}, 400, "n:"),
        ("chat/completions", {"messages": turns(), "max_tokens": 0}, 400, "max_tokens"),
        ("chat/completions", {"messages": turns(), "temperature": "hot"}, 400, "temperature"),
        ("chat/completions", {"messages": turns(), "tools": [{}]}, 400, "tools"),
        ("chat/completions", {"messages": turns("a <|eot_id|>")}, 400, "control token"),
        ("chat/completions", {"messages": turns("long " * 400)}, 400, "context holds 256"),
        ("chat/completions", {"messages": [{"role": "judge", "content": "?"}]}, 400, "role"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "only parts of type 'text'",
        ),
        ("chat/completions", {"messages": turns("x" * 5000)}, 413, "larger than 4,000"),
        ("completions", {"prompt": ""}, 400, "prompt"),
        ("nothing", {}, 404, "nothing"),
    ],
)
def test_bad_requests_are_told_why(
    url: str, path: str, body: Any, status: int, message: str
) -> None:
    got, value = post(f"{url}/v1/{path}", body)
    assert got == status
    assert message in value["error"]["message"]


def test_requests_wait_for_each_other(url: str) -> None:
    def ask(system: str | None) -> tuple[str | None, str]:
        _, value = post(f"{url}/v1/chat/completions", {"messages": turns(system=system)})
        message = value["choices"][0]["message"]
        return message["reasoning"], message["content"]

    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(ask, [ON, None] * 3)]
    assert answers == [(THOUGHT, ANSWER), (None, ANSWER)] * 3


def test_a_key_is_asked_for_and_never_told(voice: LocalVoice) -> None:
    served = TalkServer(voice, "thinker", KEY, hide_reasoning=True, limits=ServerLimits())
    with serving(served.app()) as url:
        for wrong in (None, "another", "schlüssel".encode().decode("latin-1")):
            status, value = post(f"{url}/v1/chat/completions", {"messages": turns()}, wrong)
            assert status == 401
            assert KEY not in json.dumps(value)
        with urllib.request.urlopen(f"{url}/health", timeout=10) as response:
            assert response.status == 200
        with pytest.raises(EngineError, match="wants a key"):
            RemoteVoice(url)
        with pytest.raises(EngineError, match="does not accept the key") as error:
            RemoteVoice(url, key="wrong-key")
        assert "wrong-key" not in str(error.value)
        remote = RemoteVoice(url, key=KEY)
        # The server hides what was reasoned; the client still knows that the rest is the answer.
        ask = Ask(turns(system=ON), prefill=True)
        items = [*remote.speak(ask, threading.Event())]
        texts = [item for item in items if isinstance(item, Part)]
        assert {part.kind for part in texts} == {"answer"}
        assert "".join(part.text for part in texts) == ANSWER


def test_too_many_waiting_requests_are_turned_away(voice: LocalVoice) -> None:
    served = TalkServer(voice, "thinker", limits=ServerLimits(max_waiting=1))
    body = {"prompt": "Titan", "temperature": 2.0, "seed": 1, "max_tokens": 60}
    with serving(served.app()) as url, ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: post(f"{url}/v1/completions", body)[0], range(4))]
    assert set(found) == {200, 429}


def test_a_client_that_goes_away_frees_the_model(url: str, voice: LocalVoice) -> None:
    remote = RemoteVoice(url)
    stream = remote.speak(Ask(turns()), threading.Event())
    next(stream)
    stream.close()
    stopped = threading.Event()
    stream = remote.speak(Ask(turns()), stopped)
    next(stream)
    stopped.set()
    *_, end = stream
    assert isinstance(end, End)
    assert end.finish_reason == "interrupted"
    assert said(remote, Ask(turns()))[1] == ANSWER


# --- Servers of others


@contextmanager
def scripted(events: list[bytes]) -> Iterator[str]:
    """A server of another make: it lists a model and sends these lines."""

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "other"}]})

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(event + b"\n\n")
        return response

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/v1/models")

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/moved/v1/models", away)
    with serving(app) as url:
        yield url


def delta(finish: str | None = None, **fields: str) -> bytes:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode()


def test_other_servers_spellings_of_reasoning() -> None:
    thought = [delta(reasoning_content="Why "), delta(reasoning_content="so.")]
    answer = [b": ping", delta(content="\n\nIt "), delta(content="is."), delta("stop")]
    done = b"data: [DONE]"
    with scripted([*thought, *answer, done]) as url:
        items = [*RemoteVoice(url).speak(Ask(turns()), threading.Event())]
    assert items == [
        Part("reasoning", "Why "),
        Part("reasoning", "so."),
        Part("answer", "It "),
        Part("answer", "is."),
        End("stop"),
    ]
    tags = [delta(content="<thi"), delta(content="nk>Why</think>It is."), delta("length"), done]
    with scripted(tags) as url:
        remote = RemoteVoice(url)
        assert remote.count(turns()) is None
        items = [*remote.speak(Ask(turns(), prefill=True), threading.Event())]
    assert items == [Part("reasoning", "Why"), Part("answer", "It is."), End("length")]


def test_what_servers_do_wrong_is_said() -> None:
    with scripted([delta(content="It "), b"data: {broken", b"data: [DONE]"]) as url:
        with pytest.raises(EngineError, match="broke off"):
            list(RemoteVoice(url).speak(Ask(turns()), threading.Event()))
        with pytest.raises(EngineError, match="no model 'mine'"):
            RemoteVoice(url, "mine")
        with pytest.raises(EngineError, match="answers 302"):
            RemoteVoice(f"{url}/moved", key=KEY)
    with (
        scripted([b'data: {"error": {"message": "out of memory"}}']) as url,
        pytest.raises(EngineError, match="out of memory"),
    ):
        list(RemoteVoice(url).speak(Ask(turns()), threading.Event()))
    with pytest.raises(EngineError, match="does not answer"):
        RemoteVoice(url)
    with pytest.raises(EngineError, match="not the address"):
        RemoteVoice("file:///etc/passwd")
    with pytest.raises(EngineError, match="not the address"):
        RemoteVoice("127.0.0.1:8000")


def test_a_refused_question_is_the_questions_fault(url: str) -> None:
    with pytest.raises(BadTurnsError, match="control token"):
        list(RemoteVoice(url).speak(Ask(turns("<|eot_id|>")), threading.Event()))
