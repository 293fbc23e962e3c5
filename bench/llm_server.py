"""A small server in the shape of OpenAI's, to measure and to test the client against.

It answers after a fixed time, with so many requests at once, or hands requests on to a real server;
either way it notes which request came and which was answered, one line each::

    python -m bench.llm_server --port 8001 --seconds 0.2 --slots 64 --journal journal.txt
    python -m bench.llm_server --port 8001 --upstream http://127.0.0.1:8000 --journal journal.txt
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
from typing import Any

import aiohttp
from aiohttp import web

_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Server:
    """The handlers.

    Args:
        seconds: time that an answer takes.
        slots: requests worked on at once; more wait.
        upstream: address of a real server to hand requests on to, or None.
        journal: file for the notes, or None.
        answers: how many it gives; whoever asks after that waits for ever. None: no such end.
    """

    def __init__(
        self,
        seconds: float,
        slots: int,
        upstream: str | None,
        journal: str | None,
        answers: int | None = None,
    ) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(slots)
        self._upstream = upstream
        self._answers_left = answers
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._journal = None if journal is None else os.open(journal, flags)

    def app(self) -> web.Application:
        """Returns the application."""
        app = web.Application()
        app.router.add_get("/v1/models", self._hand_on if self._upstream else _models)
        app.router.add_post("/{path:.*}", self._hand_on if self._upstream else self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        payload = await request.read()
        self._note("asked", payload)
        async with self._slots:
            await asyncio.sleep(self._seconds)
            if self._answers_left is not None:
                self._answers_left -= 1
                if self._answers_left < 0:
                    await asyncio.Event().wait()
        name = hashlib.sha256(payload).hexdigest()
        message = {"role": "assistant", "content": f'{{"answer": "{name}"}}'}
        choice = {"index": 0, "message": message, "text": name, "finish_reason": "stop"}
        body: dict[str, Any] = {"id": "x", "choices": [choice], "usage": _USAGE}
        return await self._send(request, web.json_response(body), payload)

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        payload = await request.read()
        if request.method == "POST":
            self._note("asked", payload)
        names = ("Authorization", "Content-Type")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        try:
            async with aiohttp.request(
                request.method, f"{self._upstream}{request.path}", data=payload, headers=headers
            ) as answer:
                body, status = await answer.read(), answer.status
        except aiohttp.ClientError as error:
            return web.json_response({"error": {"message": f"gateway: {error}"}}, status=502)
        response = web.Response(body=body, status=status, content_type="application/json")
        return await self._send(request, response, payload)

    async def _send(
        self, request: web.Request, response: web.Response, payload: bytes
    ) -> web.StreamResponse:
        await response.prepare(request)
        await response.write_eof()
        if request.method == "POST" and response.status == 200:
            self._note("answered", payload)
        return response

    def _note(self, event: str, payload: bytes) -> None:
        if self._journal is not None:
            line = f"{event} {hashlib.sha256(payload).hexdigest()}\n"
            os.write(self._journal, line.encode())


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})


async def _serve(arguments: argparse.Namespace) -> None:
    server = Server(
        arguments.seconds,
        arguments.slots,
        arguments.upstream,
        arguments.journal,
        arguments.answers,
    )
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serves until it is killed; on the loopback only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--upstream")
    parser.add_argument("--journal")
    parser.add_argument("--answers", type=int, help="then it goes silent: to be killed")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
