"""What clients of the small server may ask, checked; unknown fields of OpenAI's API are let pass.

Passing over a field that would change the answer (several answers, tools, a schema) would be a lie:
those are refused.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.talk.reasoning import OPEN

_REFUSED = {
    "tools": "tools are not supported",
    "response_format": "answers under a schema are not supported",
    "logit_bias": "logit_bias is not supported",
    "best_of": "best_of is not supported",
    "echo": "echo is not supported",
    "logprobs": "log-probabilities are not supported",
}
_MAX_STOPS = 16


class BadRequest(ValueError):
    """A request that cannot be answered; the message says why."""


class _Request(BaseModel):
    """What both kinds have."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    n: int = Field(1, ge=1, le=1)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    include_reasoning: bool = True

    @field_validator("temperature", "top_p", "n", "stream", "include_reasoning", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        # OpenAI's clients send null where nothing is chosen.
        return cls.model_fields[info.field_name].default if value is None else value

    @model_validator(mode="after")
    def _no_more_than_there_is(self) -> _Request:
        for name, message in _REFUSED.items():
            given = (self.model_extra or {}).get(name)
            if given not in (None, False, [], {}, {"type": "text"}):
                raise ValueError(f"{message} by this server; vLLM's has them")
        if len(self.stops()) > _MAX_STOPS:
            raise ValueError(f"more than {_MAX_STOPS} stop texts")
        return self

    def tokens(self) -> int | None:
        """Returns the tokens asked for at most, or None."""
        return self.max_completion_tokens or self.max_tokens

    def stops(self) -> tuple[str, ...]:
        """Returns the stop texts."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    def wants_usage(self) -> bool:
        """Returns whether the stream shall end with the counts."""
        return bool((self.stream_options or {}).get("include_usage"))


class Message(BaseModel):
    """A chat turn; its content is text, or text in parts."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        parts = [p for p in value if isinstance(p, dict) and p.get("type") == "text"]
        texts = [text for p in parts if isinstance(text := p.get("text"), str)]
        if len(texts) != len(value):
            raise ValueError("only parts of type 'text' are understood")
        return "".join(texts)


class ChatRequest(_Request):
    """A request to ``/v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)
    continue_final_message: bool = False
    add_generation_prompt: bool = True

    @model_validator(mode="after")
    def _only_the_tag_is_continued(self) -> ChatRequest:
        if self.continue_final_message and not self.prefilled():
            raise ValueError(f"the only beginning of an answer that can be continued is {OPEN!r}")
        return self

    def prefilled(self) -> bool:
        """Returns whether the answer begins inside the reasoning, by the prompt."""
        last = self.messages[-1]
        return (
            self.continue_final_message
            and last.role == "assistant"
            and last.content.strip() == OPEN
        )

    def turns(self) -> list[dict[str, str]]:
        """Returns the turns up to the question."""
        kept = self.messages[:-1] if self.prefilled() else self.messages
        return [{"role": m.role, "content": m.content} for m in kept]


class CompletionRequest(_Request):
    """A request to ``/v1/completions``."""

    prompt: str = Field(min_length=1)


class TokenizeRequest(BaseModel):
    """A request to ``/tokenize``: of chat turns, or of a text by itself."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    messages: list[Message] | None = Field(None, min_length=1)
    prompt: str | None = None

    @model_validator(mode="after")
    def _one(self) -> TokenizeRequest:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give exactly one of 'messages' and 'prompt'")
        return self


Request = TypeVar("Request", ChatRequest, CompletionRequest, TokenizeRequest)


async def read_request(request: web.Request, kind: type[Request], name: str) -> Request:
    """Returns a request's body, checked.

    Args:
        request: of the client.
        kind: what it must be.
        name: of the only model there is.

    Raises:
        BadRequest: it is not JSON, lacks something, or asks for what there is not.
    """
    try:
        value = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {f'{error} '.splitlines()[0].strip()}") from error
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    try:
        asked = kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise BadRequest(f"{place}: {message}" if place else message) from error
    if asked.model not in (None, name):
        raise BadRequest(f"there is no model '{asked.model}'; this server has '{name}'")
    return asked
