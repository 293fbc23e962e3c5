"""A small OpenAI-compatible server over one local voice, for machines without vLLM.

============================  =============================================================
``GET /health``               200 once it can answer; needs no key
``GET /v1/models``            the model, with ``max_model_len``
``POST /v1/chat/completions`` answers, whole or as server-sent events (``stream``)
``POST /v1/completions``      continues plain text, the same way
``POST /tokenize``            ``count`` of a prompt
============================  =============================================================

Answers are made one after the other, in the order asked; so many may wait, then 429. A client that
goes away ends its answer. Reasoning goes into the field ``reasoning``, as vLLM has it, or nowhere.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from core.chat import BadTurnsError
from core.errors import EngineError
from core.talk.reasoning import Part
from core.talk.requests import (
    BadRequest,
    ChatRequest,
    CompletionRequest,
    TokenizeRequest,
    read_request,
)
from core.talk.voice import Ask, End, Voice

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ServerLimits:
    """What one client may ask for.

    Args:
        max_tokens: of an answer; more is cut down to it.
        default_tokens: of an answer where the request does not say.
        max_request_bytes: of a request's body.
        max_waiting: requests in the queue, the one in work included.
    """

    max_tokens: int = 4096
    default_tokens: int = 1024
    max_request_bytes: int = 4 * 2**20
    max_waiting: int = 64


class TalkServer:
    """The server's application.

    Args:
        voice: the model.
        name: of the model, as clients write it.
        key: that clients must send as ``Authorization: Bearer``; None: none is asked for.
        hide_reasoning: leave reasoning out of answers.
        limits: of requests.
    """

    def __init__(
        self,
        voice: Voice,
        name: str,
        key: str | None = None,
        hide_reasoning: bool = False,
        limits: ServerLimits | None = None,
    ) -> None:
        self._voice, self._name, self._key = voice, name, key
        self._hide_reasoning = hide_reasoning
        self._limits = limits or ServerLimits()
        self._waiting = 0
        self._running: set[threading.Event] = set()
        self._turn = asyncio.Lock()

    def app(self) -> web.Application:
        """Returns the aiohttp application."""
        app = web.Application(
            client_max_size=self._limits.max_request_bytes, middlewares=[self._guard]
        )
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        app.router.add_post("/tokenize", self._tokenize)
        app.on_shutdown.append(self._stop_all)
        return app

    async def _stop_all(self, app: web.Application) -> None:
        for stopped in list(self._running):
            stopped.set()

    # --- what every request goes through

    @property
    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path != "/health" and not self._allowed(request):
                return _error(401, "a valid key is missing: Authorization: Bearer KEY")
            try:
                return await handler(request)
            except (BadRequest, BadTurnsError) as error:
                return _error(400, str(error))
            except EngineError as error:
                log.error("%s [%s]", error.what, error.where)
                return _error(500, error.what)
            except web.HTTPRequestEntityTooLarge:
                size = self._limits.max_request_bytes
                return _error(413, f"the request is larger than {size:,} bytes")
            except web.HTTPException as error:
                return _error(error.status, f"{request.method} {request.path}: {error.reason}")

        return guard

    def _allowed(self, request: web.Request) -> bool:
        if self._key is None:
            return True
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, f"Bearer {self._key}".encode())

    @asynccontextmanager
    async def _queued(self) -> AsyncIterator[threading.Event]:
        """Waits for the request's turn; yields the event that ends its answer."""
        if self._waiting >= self._limits.max_waiting:
            raise web.HTTPTooManyRequests(reason=f"{self._waiting} requests are waiting already")
        stopped = threading.Event()
        self._waiting += 1
        self._running.add(stopped)
        try:
            async with self._turn:
                yield stopped
        finally:
            stopped.set()
            self._running.discard(stopped)
            self._waiting -= 1

    # --- small things

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, request: web.Request) -> web.Response:
        entry = {
            "id": self._name,
            "object": "model",
            "created": 0,
            "owned_by": "astromill",
            "max_model_len": self._voice.window,
        }
        return web.json_response({"object": "list", "data": [entry]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        asked = await read_request(request, TokenizeRequest, self._name)
        if asked.messages is not None:
            turns = [{"role": m.role, "content": m.content} for m in asked.messages]
            count = await asyncio.to_thread(self._voice.count, turns)
        else:
            count = await asyncio.to_thread(self._voice.tokens, asked.prompt or "")
        return web.json_response({"count": count, "max_model_len": self._voice.window})

    # --- answers

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if not self._voice.chats:
            raise BadRequest(
                "this model has no chat template (a base model): ask /v1/completions to continue "
                "a text"
            )
        asked = await read_request(request, ChatRequest, self._name)
        ask = Ask(asked.turns(), prefill=asked.prefilled(), **self._drawing(asked))
        return await self._answer(request, asked, ask, _ChatShape(self._name))

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        asked = await read_request(request, CompletionRequest, self._name)
        ask = Ask([], prompt=asked.prompt, **self._drawing(asked))
        return await self._answer(request, asked, ask, _TextShape(self._name))

    def _drawing(self, asked: ChatRequest | CompletionRequest) -> dict[str, Any]:
        wanted = asked.tokens() or self._limits.default_tokens
        return {
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "max_tokens": min(wanted, self._limits.max_tokens),
            "seed": asked.seed,
            "stop": asked.stops(),
        }

    async def _answer(
        self,
        request: web.Request,
        asked: ChatRequest | CompletionRequest,
        ask: Ask,
        shape: _ChatShape | _TextShape,
    ) -> web.StreamResponse:
        hidden = self._hide_reasoning or not asked.include_reasoning
        async with (
            self._queued() as stopped,
            aclosing(_spoken(self._voice, ask, stopped)) as spoken,
        ):
            # What is wrong with the request shows before the first piece: a status can still say.
            first = await anext(spoken, None)
            if not asked.stream:
                return web.json_response(await _whole(first, spoken, shape, hidden))
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
            )
            await response.prepare(request)
            try:
                await _stream(response, first, spoken, shape, hidden, asked.wants_usage())
            except ConnectionResetError:
                log.info("a client went away before its answer was complete")
            return response


class _ChatShape:
    """Answers as chat completions."""

    path = "chat.completion"

    def __init__(self, name: str) -> None:
        self._base = {"id": f"chatcmpl-{uuid.uuid4().hex}", "model": name}

    def chunk(self, part: Part | None, finish: str | None) -> dict[str, Any]:
        """Returns one event."""
        delta: dict[str, Any] = {}
        if part is not None:
            delta = {"reasoning" if part.kind == "reasoning" else "content": part.text}
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self.frame("chat.completion.chunk", [choice])

    def whole(self, reasoning: str, answer: str, finish: str) -> dict[str, Any]:
        """Returns a whole answer."""
        message = {"role": "assistant", "content": answer, "reasoning": reasoning or None}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return self.frame("chat.completion", [choice])

    def frame(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        """Returns what stands around choices."""
        return {**self._base, "object": kind, "created": int(time.time()), "choices": choices}


class _TextShape(_ChatShape):
    """Answers as plain completions: nothing is taken for reasoning that the client sees apart."""

    def chunk(self, part: Part | None, finish: str | None) -> dict[str, Any]:
        """Returns one event."""
        text = part.text if part is not None else ""
        choice = {"index": 0, "text": text, "finish_reason": finish}
        return self.frame("text_completion", [choice])

    def whole(self, reasoning: str, answer: str, finish: str) -> dict[str, Any]:
        """Returns a whole answer."""
        choice = {"index": 0, "text": reasoning + answer, "finish_reason": finish}
        return self.frame("text_completion", [choice])


async def _spoken(voice: Voice, ask: Ask, stopped: threading.Event) -> AsyncGenerator[Part | End]:
    """Yields what a voice says, which comes from a thread.

    Ends the thread's work, and waits for it, when the caller goes away.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Part | End | Exception | None] = asyncio.Queue()

    def put(item: Part | End | Exception | None) -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, item)

    def work() -> None:
        try:
            for item in voice.speak(ask, stopped):
                put(item)
        except Exception as error:
            put(error)
        finally:
            put(None)

    task = loop.run_in_executor(None, work)
    try:
        while (item := await arrived.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        # Shielded: the next request must not begin while this one still computes.
        await asyncio.shield(asyncio.wait([task]))


async def _whole(
    first: Part | End | None,
    spoken: AsyncIterator[Part | End],
    shape: _ChatShape,
    hidden: bool,
) -> dict[str, Any]:
    texts = {"reasoning": "", "answer": ""}
    end = End("stop")
    async for item in _chained(first, spoken):
        if isinstance(item, End):
            end = item
        else:
            texts[item.kind] += item.text
    reasoning = "" if hidden else texts["reasoning"].strip()
    value = shape.whole(reasoning, texts["answer"].strip(), _finish(end))
    return {**value, "usage": _usage(end)}


async def _stream(
    response: web.StreamResponse,
    first: Part | End | None,
    spoken: AsyncIterator[Part | End],
    shape: _ChatShape,
    hidden: bool,
    wants_usage: bool,
) -> None:
    async def send(value: dict[str, Any]) -> None:
        await response.write(b"data: " + json.dumps(value).encode() + b"\n\n")

    told = False
    try:
        async for item in _chained(first, spoken):
            if hidden and not told and isinstance(item, Part) and item.kind == "reasoning":
                # Tells a client that reasoning is told apart here, and keeps the connection alive.
                told = True
                await send(shape.chunk(Part("reasoning", ""), None))
            if isinstance(item, End):
                await send(shape.chunk(None, _finish(item)))
                if wants_usage:
                    await send({**shape.chunk(None, None), "choices": [], "usage": _usage(item)})
            elif not (hidden and item.kind == "reasoning"):
                await send(shape.chunk(item, None))
    except EngineError as error:
        # The status is out already; OpenAI's clients read an error in the stream.
        log.error("%s [%s]", error.what, error.where)
        await send({"error": {"message": error.what, "type": "server_error"}})
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()


async def _chained(
    first: Part | End | None, rest: AsyncIterator[Part | End]
) -> AsyncIterator[Part | End]:
    if first is not None:
        yield first
    async for item in rest:
        yield item


def _finish(end: End) -> str:
    # As vLLM says of an answer that was ended from outside.
    return "abort" if end.finish_reason == "interrupted" else end.finish_reason


def _usage(end: End) -> dict[str, Any]:
    prompt, completion = end.prompt_tokens or 0, end.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {"reasoning_tokens": end.reasoning_tokens or 0},
    }


def _error(status: int, message: str) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"error": {"message": message, "type": kind, "code": status}}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response(body, status=status, headers=headers)
