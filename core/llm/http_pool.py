"""Many requests to one server: bounded, patient, and stopped when too much fails.

A fixed number of workers take requests from one stream, so a slow one holds up nobody. Answers are
handed on as they arrive.

=====================================  ==========================================================
what happens                           what is done
=====================================  ==========================================================
the server is away (refused, broken    everyone waits and one probe asks, up to
connection, 502-504)                   ``server_wait_seconds``; what was in flight is sent again
429, too busy                          after ``Retry-After`` or a growing pause, as long as that
500, a time-out, a broken connection   again after a growing pause, six times in all
any other status                       an error of this request alone
401                                    the run stops: no request would pass
more errors than ``max_error_share``   the run stops and says what failed most
=====================================  ==========================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import queue
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from core.errors import EngineError
from core.llm.error_budget import ErrorBudget
from core.llm.http_patience import (
    ATTEMPTS,
    Gate,
    Refused,
    ServerAway,
    pause_seconds,
    retry_after_seconds,
)
from core.recipe.engine import Engine as EngineConfig
from core.secrets import HIDDEN, redact

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
_READER_SECONDS = 0.005
_LONG_KEY = 16
"""Characters; a shorter key may be a word, such as the ``EMPTY`` of servers that ask for none."""

Answer = dict[str, Any] | str
"""A server's answer, or the reason why there is none."""


@dataclass(frozen=True)
class Post:
    """One request: path below the base address, and the JSON body."""

    path: str
    body: dict[str, Any]


class HttpPool:
    """Sends requests to one server.

    Args:
        config: the recipe section: address, concurrency, time-outs, error budget.
        key: the API key, or None.
    """

    def __init__(self, config: EngineConfig, key: str | None) -> None:
        self._config = config
        self._url = str(config.base_url).rstrip("/")
        self._key = key
        self._budget = ErrorBudget(config.max_error_share, self._url)
        self._given_up: EngineError | None = None

    def stream(self, posts: Iterable[Post | str]) -> Iterator[tuple[int, Answer]]:
        """Sends requests; yields ``(number, answer)`` as they arrive.

        They are sent from a thread of its own, so this works where an event loop runs too.
        Closing the iterator gives up the requests in flight.

        Args:
            posts: the requests, taken as slots become free; a string is an error to hand on.

        Raises:
            EngineError: the server stays away, refuses the key, or fails too often.
        """
        self._check_not_given_up()
        arrived: queue.SimpleQueue[tuple[int, Answer] | BaseException | None] = queue.SimpleQueue()
        session = _Session(self._config, self._url, self._key, self._budget, arrived)
        thread = threading.Thread(target=session.run, args=(iter(posts),), daemon=True)
        thread.start()
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, EngineError):
                    self._given_up = item
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            session.stop()
            thread.join()

    def _check_not_given_up(self) -> None:
        """Raises what ended an earlier stream, unless the server was away and is back.

        The shards that follow a failed one must not each wait for the server, or send requests
        that fail.
        """
        if isinstance(self._given_up, ServerAway):
            with contextlib.suppress(Refused):
                self.get("models")
                self._given_up = None
        if self._given_up is not None:
            raise self._given_up

    def get(self, path: str) -> dict[str, Any]:
        """Asks for one thing, once.

        Raises:
            Refused: the server does not answer, or not with 200 and JSON.
            EngineError: it refuses the key.
        """
        session = _Session(self._config, self._url, self._key, self._budget, queue.SimpleQueue())

        async def ask() -> dict[str, Any]:
            async with session.open() as client:
                return await session.send(client, "GET", path, None, CONNECT_SECONDS)

        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(lambda: asyncio.run(ask())).result()


class _Session:
    """The asyncio side: one event loop in one thread."""

    def __init__(
        self,
        config: EngineConfig,
        url: str,
        key: str | None,
        budget: ErrorBudget,
        arrived: queue.SimpleQueue[tuple[int, Answer] | BaseException | None],
    ) -> None:
        self._config = config
        self._url = url
        self._key = key
        self._budget = budget
        self._arrived = arrived
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, posts: Iterator[Post | str]) -> None:
        """Sends everything; the thread's body. Ends with None or an error in the queue."""
        try:
            asyncio.run(self._main(posts))
        except asyncio.CancelledError:
            self._arrived.put(None)
        except BaseExceptionGroup as group:
            self._arrived.put(_first(group))
        except BaseException as error:
            self._arrived.put(error)
        else:
            self._arrived.put(None)

    def stop(self) -> None:
        """Gives up what is in flight; does nothing where all is done."""
        with self._lock:
            self._stopped = True
            if self._loop and self._task and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._task.cancel)

    def open(self) -> aiohttp.ClientSession:
        """Opens a client; to be called, and closed, inside the event loop."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # The pool's own limit is how many workers there are.
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(connector=connector, headers=headers, proxy=_proxy(self._url))

    async def _main(self, posts: Iterator[Post | str]) -> None:
        with self._lock:
            if self._stopped:
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            async with self.open() as client:
                self._gate = Gate(
                    lambda: self._there(client), self._config.server_wait_seconds, self._url
                )
                numbered = enumerate(posts)
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._config.max_concurrency):
                        group.create_task(self._work(client, numbered))
        finally:
            with self._lock:
                self._task = None

    async def _work(
        self, client: aiohttp.ClientSession, posts: Iterator[tuple[int, Post | str]]
    ) -> None:
        # One thread runs all workers, and taking the next request does not await: no two take it.
        for number, post in posts:
            answer: Answer
            if isinstance(post, str):
                answer = post
            else:
                try:
                    answer = await self._patiently(client, number, post)
                except Refused as error:
                    answer = str(error)
            self._arrived.put((number, answer))
            self._budget.count(answer if isinstance(answer, str) else None)
            # What is not yet logged would be paid for again after a kill: with a busy reader, stop
            # sending rather than pile up answers.
            while self._arrived.qsize() > self._config.max_concurrency:
                await asyncio.sleep(_READER_SECONDS)

    async def _patiently(
        self, client: aiohttp.ClientSession, number: int, post: Post
    ) -> dict[str, Any]:
        """Sends a request again while its failure may pass."""
        failures = refusals = 0
        waited_seconds = 0.0
        while True:
            await self._gate.opened()
            sent_at = time.monotonic()
            try:
                return await self.send(
                    client, "POST", post.path, post.body, self._config.timeout_seconds
                )
            except Refused as error:
                if not error.passing:
                    raise
                away = error.perhaps_away and await self._gate.check(error, sent_at)
                refusals += 1
                if error.busy:
                    if waited_seconds >= self._config.server_wait_seconds:
                        raise
                elif error.sent or not away:
                    failures += 1
                    if failures >= ATTEMPTS:
                        raise
                log.info("request %d: %s; sending it again", number, error)
                if not away:
                    pause = pause_seconds(number, refusals, error.retry_after_seconds)
                    pause = min(pause, self._config.server_wait_seconds)
                    await asyncio.sleep(pause)
                    waited_seconds += pause

    async def send(
        self,
        client: aiohttp.ClientSession,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        timeout_seconds: float,
    ) -> dict[str, Any]:
        """Sends a request once; returns the JSON object that came.

        Raises:
            Refused: anything else came.
            EngineError: the server refuses the key.
        """
        limits = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=CONNECT_SECONDS)
        try:
            async with client.request(
                method, f"{self._url}/{path}", json=body, timeout=limits
            ) as response:
                payload = await response.read()
                status, headers = response.status, response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Refused(self._reason(error), sent=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Refused(self._reason(error)) from error
        if status == 401:
            raise EngineError(
                f"the server refuses the key: {self._message(payload)}",
                where=self._url,
                remedy="set the variable that api_key_env names to a key of this server",
            )
        if status >= 300:
            raise Refused(
                f"HTTP {status}: {self._message(payload)}",
                status,
                retry_after_seconds=retry_after_seconds(headers.get("Retry-After")),
            )
        if self._key and len(self._key) >= _LONG_KEY and self._key.encode() in payload:
            # It would go into the request log, the data, and whatever is made from them.
            raise Refused("the answer repeats the key", status)
        try:
            answer = json.loads(payload)
        except ValueError as error:
            raise Refused(f"the answer is not JSON: {self._message(payload)}") from error
        if not isinstance(answer, dict):
            raise Refused(f"the answer is no JSON object: {self._message(payload)}")
        return answer

    async def _there(self, client: aiohttp.ClientSession) -> bool:
        """Returns whether the server answers."""
        try:
            await self.send(client, "GET", "models", None, CONNECT_SECONDS)
        except Refused as error:
            # A server that knows no such path is there all the same.
            return not error.passing
        return True

    def _reason(self, error: BaseException) -> str:
        return self._clean(f"{type(error).__name__}: {error}")

    def _message(self, payload: bytes) -> str:
        """Returns what an error's body says, in OpenAI's form or another."""
        text = payload[:2000].decode("utf-8", "replace")
        try:
            entry = json.loads(payload)
            entry = entry.get("error", entry) if isinstance(entry, dict) else entry
            if isinstance(entry, dict):
                code = f" ({entry['code']})" if isinstance(entry.get("code"), str) else ""
                text = f"{entry.get('message', entry)}{code}"
            elif isinstance(entry, str):
                text = entry
        except ValueError:
            pass
        return self._clean(text)

    def _clean(self, text: str) -> str:
        # Some servers repeat the key in their error.
        text = redact(text.replace(self._key, HIDDEN) if self._key else text)
        return (text.strip() or "no reason given").splitlines()[0][:500]


def _proxy(url: str) -> str | None:
    """Returns the proxy that the environment names for an address; none leads to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    # Not aiohttp's own trust_env: that also reads keys from ~/.netrc.
    if local or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Returns the first error of a group that is no group."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


__all__ = ["ATTEMPTS", "Answer", "HttpPool", "Post", "Refused"]
