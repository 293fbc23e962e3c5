"""A voice: an OpenAI-compatible server, asked for a stream of server-sent events.

Servers name reasoning ``reasoning`` (vLLM) or ``reasoning_content`` (older ones, others), or leave
it in the answer between its tags: all three are read. The key goes to the named server alone: no
redirect is followed.
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from core.chat import DEFAULT_DATE_STRING, BadTurnsError
from core.errors import EngineError
from core.talk.conversation import Messages
from core.talk.reasoning import OPEN, Part, ThinkSplitter
from core.talk.voice import Ask, End, FinishReason, Voice

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OURS = ("vllm", "astromill")
"""Servers (``owned_by``) that continue an answer begun by the prompt and take template values."""

_MAX_ERROR_BYTES = 8192


class RemoteVoice(Voice):
    """A client of one model on one server.

    Args:
        url: of its API, with or without the ``/v1`` at its end.
        model: the server's name for it; absent: the only one that it has.
        key: for ``Authorization: Bearer``, or None.
        timeout_seconds: between two pieces of an answer.

    Raises:
        EngineError: the server does not answer, refuses the key or does not know the model.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        key: str | None = None,
        timeout_seconds: float = 600.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(
                f"'{url}' is not the address of a server",
                where="--server",
                remedy="write it like http://127.0.0.1:8000",
            )
        self._root = url.rstrip("/").removesuffix("/v1")
        self._key = key
        self._timeout_seconds = timeout_seconds
        # A proxy cannot reach a server of this machine.
        proxies: dict[str, str] | None = {} if parts.hostname in _LOOPBACK else None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), _NoRedirect()
        )
        entry = self._model(model)
        self._name = str(entry["id"])
        self._ours = entry.get("owned_by") in _OURS
        limit = entry.get("max_model_len")
        self.window = int(limit) if isinstance(limit, int) else None
        self.label = f"{self._name} at {parts.netloc.rpartition('@')[2]}"
        # What a server says by an error: a model without a chat format answers 400.
        self.chats = True

    def _model(self, wanted: str | None) -> dict[str, Any]:
        listed = self._json("GET", "/v1/models", None).get("data")
        entries = [m for m in listed or () if isinstance(m, dict) and m.get("id")]
        names = [str(m["id"]) for m in entries]
        if wanted is None and len(entries) == 1:
            return entries[0]
        for entry in entries:
            if entry["id"] == wanted:
                return entry
        what = f"the server has no model '{wanted}'" if wanted else "the server has several models"
        if not entries:
            what = "the server lists no model"
        raise EngineError(
            what,
            where=self._root,
            remedy=f"name one it has: {', '.join(names[:5]) or 'none is loaded'}",
        )

    def count(self, messages: Messages) -> int | None:
        """Returns the tokens of a prompt, asked from the server; None where it cannot tell."""
        return self._counted({"messages": messages, "add_generation_prompt": True, **_DATE})

    def tokens(self, text: str) -> int | None:
        """Returns the tokens of a text, asked from the server; None where it cannot tell."""
        return self._counted({"prompt": text, "add_special_tokens": False})

    def _counted(self, body: dict[str, Any]) -> int | None:
        if not self._ours:
            return None
        try:
            found = self._json("POST", "/tokenize", {"model": self._name, **body}).get("count")
        except (EngineError, BadTurnsError):
            return None
        return int(found) if isinstance(found, int) else None

    def speak(self, ask: Ask, stopped: threading.Event) -> Iterator[Part | End]:
        """Yields the answer; see :class:`core.talk.voice.Voice`."""
        prefill = ask.prefill and self._ours and bool(ask.messages)
        path, body = self._body(ask, prefill)
        seen = _Seen(ThinkSplitter(prefill), plain=not ask.messages)
        with self._send("POST", path, body) as response, _torn(self._root):
            for event in _events(response):
                if stopped.is_set():
                    break
                yield from seen.parts(event)
        yield from seen.splitter.finish()
        reason: FinishReason = "length" if seen.finish_reason == "length" else "stop"
        if stopped.is_set():
            reason = "interrupted"
        elif seen.finish_reason is None:
            raise EngineError(
                "the server broke off the answer",
                where=self._root,
                remedy="see its log; ask again",
            )
        yield End(reason, seen.prompt_tokens, seen.completion_tokens, seen.reasoning_tokens)

    def _body(self, ask: Ask, prefill: bool) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._name,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "max_tokens": ask.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if ask.seed is not None:
            body["seed"] = ask.seed
        if ask.stop:
            body["stop"] = list(ask.stop)
        if not ask.messages:
            return "/v1/completions", {**body, "prompt": ask.prompt}
        body["messages"] = ask.messages
        if self._ours:
            body |= _DATE
        if prefill:
            begun = {"role": "assistant", "content": OPEN}
            body["messages"] = [*ask.messages, begun]
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        return "/v1/chat/completions", body

    def _json(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        with self._send(method, path, body) as response, _torn(self._root):
            try:
                value = json.load(response)
            except ValueError as error:
                raise EngineError(
                    "this is no OpenAI-compatible server: its answer is not JSON",
                    where=f"{self._root}{path}",
                    remedy="check the address",
                ) from error
        return value if isinstance(value, dict) else {}

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json", "User-Agent": "astromill"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # Half a surrogate pair, from bytes that are no UTF-8, is no JSON text.
        data = None if body is None else json.dumps(body).encode("ascii")
        request = urllib.request.Request(self._root + path, data, headers, method=method)
        try:
            return self._opener.open(request, timeout=self._timeout_seconds)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise EngineError(
                f"the server does not answer: {reason}",
                where=self._root,
                remedy="start it (astromill serve MODEL), or correct the address",
            ) from error

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        with error:
            said = _error_text(error.read(_MAX_ERROR_BYTES))
        if error.code in (401, 403):
            return EngineError(
                "the server does not accept the key" if self._key else "the server wants a key",
                where=self._root,
                remedy="export it and name the variable: --api-key-env NAME",
            )
        if error.code in (400, 413, 422):
            return BadTurnsError(said or f"the server refuses this (HTTP {error.code})")
        return EngineError(
            f"the server answers {error.code}: {said or error.reason}",
            where=self._root,
            remedy="see its log; where it is busy (429, 503), ask again later",
        )


@dataclass
class _Seen:
    """What a stream told so far.

    Args:
        splitter: tells reasoning apart, unless the server does.
        plain: the text is no chat answer: nothing in it is reasoning.
    """

    splitter: ThinkSplitter
    plain: bool
    separate: bool = False
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None

    def parts(self, event: dict[str, Any]) -> Iterator[Part]:
        """Yields the text of an event."""
        if isinstance(event.get("error"), dict):
            raise EngineError(
                f"the server failed: {event['error'].get('message', 'it does not say why')}",
                where="the answer",
                remedy="see its log",
            )
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = usage.get("prompt_tokens")
            self.completion_tokens = usage.get("completion_tokens")
            details = usage.get("completion_tokens_details") or {}
            self.reasoning_tokens = details.get("reasoning_tokens") or self.reasoning_tokens
        for choice in event.get("choices") or ():
            yield from self._text(choice)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _text(self, choice: dict[str, Any]) -> Iterator[Part]:
        delta = choice.get("delta") or {}
        thoughts = [delta.get(name) for name in ("reasoning", "reasoning_content")]
        if not self.separate and any(isinstance(thought, str) for thought in thoughts):
            # This server tells reasoning apart, an empty text if it hides it: the rest is answer.
            self.separate, self.splitter = True, ThinkSplitter()
        thought = next((thought for thought in thoughts if thought), "")
        if thought:
            yield Part("reasoning", thought)
        text = delta.get("content") or choice.get("text") or ""
        if text and self.plain:
            yield Part("answer", text)
        elif text:
            yield from self.splitter.feed(text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: a redirect would carry the key, and the conversation, to another server."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Returns None: the redirect is an error."""


_DATE = {"chat_template_kwargs": {"date_string": DEFAULT_DATE_STRING}}
"""Llama-3.1's template writes a date; the same as everywhere in astromill."""


def _events(response: Any) -> Iterator[dict[str, Any]]:
    """Yields the JSON values of server-sent events."""
    for raw in response:
        line = raw.decode("utf-8", "replace").strip()
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        with contextlib.suppress(ValueError):
            event = json.loads(data)
            if isinstance(event, dict):
                yield event


@contextlib.contextmanager
def _torn(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        raise EngineError(
            f"the connection broke: {f'{error} '.splitlines()[0].strip() or type(error).__name__}",
            where=where,
            remedy="see the server's log; ask again",
        ) from error


def _error_text(body: bytes) -> str:
    """Returns the message in an error's body: of OpenAI's, vLLM's or FastAPI's shape."""
    try:
        value = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip().partition("\n")[0][:300]
    if isinstance(value, dict):
        inner = value.get("error", value)
        said = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        return str(said or "")[:300]
    return ""
