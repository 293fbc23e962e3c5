"""Engine ``openai``: any OpenAI-compatible server, such as ``vllm serve``.

One asyncio client keeps ``max_concurrency`` requests in flight. Requests that the server turned
away for now (429, 5xx, broken connections) are sent again with growing pauses; one that keeps
failing becomes an error of its own and does not stop the others.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import openai

from core.chat import DEFAULT_DATE_STRING, render_text
from core.errors import EngineError
from core.llm.engine import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.recipe.engine import Engine as EngineConfig

log = logging.getLogger(__name__)

ATTEMPTS = 6
"""Tries per request; with the pauses, about half a minute of a server's absence is bridged."""
_FIRST_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS = 10.0

Result = TypeVar("Result")


class OpenAiEngine(Engine):
    """An asyncio client of an OpenAI-compatible server.

    Args:
        model: the server's name for the model.
        config: the recipe section; the key comes from the environment variable it names.

    Raises:
        EngineError: the key is not set, or the server does not answer or does not know the model.
    """

    def __init__(self, model: str, config: EngineConfig) -> None:
        self.label = model
        self._model = model
        self._config = config
        self._key = _key(config)
        _run(self._check_server())

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers prompts; see :class:`core.llm.engine.Engine`."""
        return _run(self._all(requests, self._generate, _no_generation))

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts with the server's ``prompt_logprobs``, which vLLM has.

        A server without them gives errors, as does a text longer than its context.
        """
        return _run(self._all(requests, self._score, _no_score))

    def _client(self, timeout_seconds: float) -> openai.AsyncOpenAI:
        # Retries are counted here, not in the client: it gives up after two.
        return openai.AsyncOpenAI(
            base_url=self._config.base_url,
            api_key=self._key,
            timeout=openai.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            max_retries=0,
        )

    async def _check_server(self) -> None:
        where = str(self._config.base_url)
        async with self._client(_CONNECT_SECONDS) as client:
            try:
                models = [m.id async for m in client.models.list()]
            except openai.OpenAIError as error:
                raise EngineError(
                    f"the server does not answer: {_reason(error)}",
                    where=where,
                    remedy="start it, or correct base_url (it ends in /v1) and api_key_env",
                ) from error
        if models and self._model not in models:
            raise EngineError(
                f"the server has no model '{self._model}'",
                where=where,
                remedy=f"name one it has: {', '.join(sorted(models)[:5])}",
            )

    async def _all(
        self,
        requests: Sequence[Any],
        ask: Callable[[openai.AsyncOpenAI, Any], Awaitable[Result]],
        failed: Callable[[str], Result],
    ) -> list[Result]:
        """Sends requests, a bounded number at once; returns the results in order."""
        slots = asyncio.Semaphore(self._config.max_concurrency)

        async def one(number: int, request: Any) -> Result:
            async with slots:
                try:
                    return await _patiently(lambda: ask(client, request), number)
                except (openai.OpenAIError, LookupError, TypeError, ValueError) as error:
                    return failed(_reason(error))

        async with self._client(self._config.timeout_seconds) as client:
            return await asyncio.gather(*(one(n, r) for n, r in enumerate(requests)))

    async def _generate(self, client: openai.AsyncOpenAI, request: GenerateRequest) -> Generation:
        sampling = self._config.sampling
        arguments: dict[str, Any] = {}
        if request.schema is not None:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.schema, "strict": True},
            }
        answer = await client.chat.completions.create(
            model=self._model,
            messages=[dict(message) for message in request.messages],  # type: ignore[misc]
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=request.seed,
            **arguments,
            **self._extra({"chat_template_kwargs": {"date_string": DEFAULT_DATE_STRING}}),
        )
        choice, usage = answer.choices[0], answer.usage
        return Generation(
            text=choice.message.content or "",
            finish_reason=choice.finish_reason,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
        )

    def _extra(self, body: dict[str, Any]) -> dict[str, Any]:
        """Returns vLLM's additions; OpenAI's own service refuses fields it does not know."""
        hosted = "api.openai.com" in str(self._config.base_url)
        return {} if hosted else {"extra_body": body}

    async def _score(self, client: openai.AsyncOpenAI, request: ScoreRequest) -> Score:
        if not request.text:
            return Score(())
        prefix = request.prefix
        if request.messages:
            prefix = render_text(request.messages, add_generation_prompt=True)
        # Echo: the answer repeats the prompt, with log-probabilities.
        answer = await client.completions.create(
            model=self._model,
            prompt=prefix + request.text,
            max_tokens=0,
            echo=True,
            logprobs=0,
            temperature=0.0,
            # The rendered text holds its control tokens, the first one too.
            **self._extra({"add_special_tokens": not request.messages}),
        )
        found = answer.choices[0].logprobs
        if found is None or not found.tokens or not found.token_logprobs:
            raise ValueError("the server gives no log-probabilities of the prompt")
        return Score(_after(prefix, request.text, found.tokens, found.token_logprobs))


def _after(
    prefix: str, text: str, tokens: Sequence[str], logprobs: Sequence[float | None]
) -> tuple[float, ...]:
    """Returns the log-probabilities of the tokens that end inside the text."""
    position, scored = 0, []
    for number, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        if number == 0 and not (prefix + text).startswith(token):
            continue  # the beginning-of-text token, which the server put in front
        position += len(token)
        if position > len(prefix) and logprob is not None:
            scored.append(logprob)
    return tuple(scored)


async def _patiently(ask: Callable[[], Awaitable[Result]], number: int) -> Result:
    """Asks again, after growing pauses, while the failure may pass."""
    for attempt in range(ATTEMPTS):
        try:
            return await ask()
        except (
            openai.APIConnectionError,
            openai.RateLimitError,
            openai.InternalServerError,
        ) as error:
            if attempt == ATTEMPTS - 1:
                raise
            # Requests that failed together do not return together.
            pause = _FIRST_PAUSE_SECONDS * 2**attempt * (1 + number % 10 / 10)
            log.warning("request %d: %s; again in %.1f s", number, _reason(error), pause)
            await asyncio.sleep(pause)
    raise AssertionError("unreachable")


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine to its end, also where an event loop is running (an async Ray actor)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


def _key(config: EngineConfig) -> str:
    if config.api_key_env is None:
        return "none"  # the client wants one; a local server does not look at it
    key = os.environ.get(config.api_key_env)
    if not key:
        raise EngineError(
            f"the environment variable {config.api_key_env} is not set",
            where="key api_key_env",
            remedy="export it with the server's key, or remove api_key_env from the recipe",
        )
    return key


def _reason(error: Exception) -> str:
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}{cause}".splitlines()[0][:500]


def _no_generation(reason: str) -> Generation:
    return Generation("", "error", error=reason)


def _no_score(reason: str) -> Score:
    return Score((), error=reason)
