"""vLLM's own server with our reasoning parser: one start for all of it."""

from __future__ import annotations

import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineError
from core.talk.conversation import Conversation
from core.talk.reasoning import Part
from core.talk.remote import RemoteVoice
from core.talk.vllm_server import VllmOptions, VllmServer
from core.talk.voice import Ask, End
from tests.talk_model import ANSWER, NEXT, NEXT_ANSWER, NEXT_THOUGHT, ON, QUESTION, THOUGHT

KEY = "a-key-of-ours"


def options(model: Path, **changes: Any) -> VllmOptions:
    limit = json.dumps({"max_new_tokens": 40})
    # With VLLM_ENABLE_V1_MULTIPROCESSING=0, the engine's process does the work itself.
    extra = ("--override-generation-config", limit, "--distributed-executor-backend", "uni")
    given = {"key": KEY, "dtype": "float32", "start_seconds": 500.0, "extra": extra, **changes}
    return VllmOptions(str(model), "thinker", **given)


@pytest.fixture(scope="module")
def url(thinker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        server = VllmServer(options(thinker), tmp_path_factory.mktemp("vllm") / "vllm.log")
        try:
            server.start()
            yield server.url
        finally:
            server.stop()


def said(remote: RemoteVoice, ask: Ask) -> tuple[str, str, End]:
    items = [*remote.speak(ask, threading.Event())]
    end = items.pop()
    assert isinstance(end, End)
    parts = [item for item in items if isinstance(item, Part)]
    texts = ["".join(p.text for p in parts if p.kind == kind) for kind in ("reasoning", "answer")]
    return texts[0].strip(), texts[1], end


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=300) as response:
        value: dict[str, Any] = json.load(response)
    return value


def test_vllm_tells_reasoning_apart(url: str) -> None:
    with pytest.raises(EngineError, match="wants a key"):
        RemoteVoice(url)
    remote = RemoteVoice(url, key=KEY)
    assert remote.window == 256
    # As streams: without reasoning, with it, and with the tag put into the prompt.
    conversation = Conversation()
    assert remote.count(conversation.messages(QUESTION))
    assert said(remote, Ask(conversation.messages(QUESTION), max_tokens=40))[:2] == ("", ANSWER)
    conversation.thinking = True
    for prefill in (False, True):
        ask = Ask(conversation.messages(QUESTION), max_tokens=40, prefill=prefill)
        reasoning, answer, end = said(remote, ask)
        assert (reasoning, answer, end.finish_reason) == (THOUGHT, ANSWER, "stop")
        assert end.reasoning_tokens
    conversation.add(QUESTION, answer, reasoning)
    ask = Ask(conversation.messages(NEXT), max_tokens=40, prefill=True)
    assert said(remote, ask)[:2] == (NEXT_THOUGHT, NEXT_ANSWER)
    # Cut off inside the reasoning: no answer, and nothing taken for one.
    ask = Ask(conversation.messages(NEXT), max_tokens=3, prefill=True)
    reasoning, answer, end = said(remote, ask)
    assert (answer, end.finish_reason) == ("", "length")
    assert NEXT_THOUGHT.startswith(reasoning)
    # As whole answers.
    messages = [{"role": "system", "content": ON}, {"role": "user", "content": QUESTION}]
    body = {"model": "thinker", "messages": messages, "temperature": 0, "max_tokens": 40}
    message = post(f"{url}/v1/chat/completions", body)["choices"][0]["message"]
    assert (message["reasoning"].strip(), message["content"]) == (THOUGHT, ANSWER)
    hidden = post(f"{url}/v1/chat/completions", {**body, "include_reasoning": False})
    message = hidden["choices"][0]["message"]
    assert (message.get("reasoning"), message["content"]) == (None, ANSWER)
    # A schema holds from the first token, whether or not the model would reason.
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for asked in (messages, messages[1:]):
        answer = post(
            f"{url}/v1/chat/completions", {**body, "messages": asked, "response_format": wanted}
        )
        assert json.loads(answer["choices"][0]["message"]["content"]).keys() == {"a"}


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match="is in use"):
            VllmServer(options(tmp_path, port=port), tmp_path / "log").start()


def test_the_key_is_not_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "of-another-server")
    asked = options(tmp_path)
    assert KEY not in " ".join(asked.command(1))
    assert asked.environment()["VLLM_API_KEY"] == KEY
    assert "VLLM_API_KEY" not in options(tmp_path, key=None).environment()
    assert os.environ["VLLM_API_KEY"] == "of-another-server"


def test_hidden_reasoning_is_dropped() -> None:
    from core.talk.vllm_reasoning import HiddenReasoningParser

    class Words:
        """A tokenizer of whole words."""

        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return list(range(len(text.split())))

        def decode(self, ids: list[int]) -> str:
            return "assistant\n\n<think>"

    parser = HiddenReasoningParser(Words())
    parser.adjust_initial_state_from_prompt([1])
    found = []
    for piece in ("Why ", "so", ".</thi", "nk>\n\nIt", " is <"):
        message = parser.extract_reasoning_streaming("", "", piece, [], [], [])
        if message is not None:
            found.append((message.reasoning, message.content))
    assert found == [("", None), (None, "It"), (None, " is ")]
    assert parser.get_streaming_fallback_content("", None) == "<"
    assert parser.count_reasoning_tokens([]) == 2
