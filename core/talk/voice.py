"""Something that answers, a piece at a time: a model in this process, or a server."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core.talk.conversation import Messages
from core.talk.reasoning import Part

FinishReason = Literal["stop", "length", "interrupted"]


@dataclass(frozen=True)
class Ask:
    """What is asked, and how the answer is drawn.

    Args:
        messages: chat turns, the last one the user's; empty where ``prompt`` is given.
        prompt: plain text to be continued, for models without a chat format.
        temperature: 0 is greedy.
        top_p: share of the probability that is drawn from.
        max_tokens: of the answer, reasoning included.
        seed: of the drawing.
        prefill: the answer begins with ``<think>``, which is put into the prompt (AstroMLab 4,
            section 3).
        stop: texts that end the answer; not part of it.
    """

    messages: Messages
    prompt: str = ""
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None
    prefill: bool = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """How an answer ended.

    Args:
        finish_reason: ``stop``: by itself; ``length``: ``max_tokens`` or the context is used up.
        prompt_tokens, completion_tokens, reasoning_tokens: counts; None where not known.
    """

    finish_reason: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None


class Voice(ABC):
    """A model that one can talk to."""

    label: str
    """Name to show."""
    window: int | None
    """Tokens of the context; None where not known."""
    chats: bool
    """Whether it has a chat format; else it continues plain text."""

    @abstractmethod
    def count(self, messages: Messages) -> int | None:
        """Returns the tokens of a prompt of chat turns; None where they cannot be counted."""

    @abstractmethod
    def speak(self, ask: Ask, stopped: threading.Event) -> Iterator[Part | End]:
        """Yields the answer in parts as they come, then its end.

        Args:
            ask: the question.
            stopped: set by the caller, also from another thread, to end the answer early.

        Raises:
            BadTurnsError: the turns cannot be rendered or do not fit into the context.
            EngineError: the model or server fails.
        """

    def tokens(self, text: str) -> int | None:
        """Returns the tokens of a text by itself; None where they cannot be counted."""
        return None

    # Optional hook: only some hold a process or connection.
    def close(self) -> None:  # noqa: B027
        """Lets go of what it holds."""
