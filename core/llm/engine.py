"""The engine interface and the factory that opens one from a recipe section."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling


@dataclass(frozen=True)
class GenerateRequest:
    """One prompt.

    Args:
        messages: chat turns, ``{"role": ..., "content": ...}``; empty where ``prompt`` is given.
        prompt: plain text to be completed instead, for models without a chat template. The
            beginning-of-text token is put in front where the tokenizer has one.
        stop: strings that end the answer; they are not part of it.
        max_tokens: of this answer; the sampling's where absent.
        schema: JSON Schema that the answer must fit, or None for free text.
        task: what is asked (``qa``); the ``rules`` engine goes by it.
        inputs: the values the prompt was made from; only the ``rules`` engine reads them.
        seed: sampling seed of this request.
    """

    messages: tuple[dict[str, str], ...] = ()
    schema: dict[str, Any] | None = None
    task: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    prompt: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True)
class Generation:
    """An answer. ``error`` says why there is none; ``text`` is then what came, if anything."""

    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True)
class ScoreRequest:
    """A text to score.

    Args:
        text: scored token by token.
        prefix: comes before and is conditioned on, not scored. Without one, the first token is
            conditioned on the beginning-of-text token where the tokenizer has one.
        messages: chat turns instead of ``prefix``: rendered with the generation prompt.
    """

    text: str
    prefix: str = ""
    messages: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Score:
    """Log-likelihoods (nats) of a text's tokens; ``error`` says why there are none."""

    logprobs: tuple[float, ...]
    error: str | None = None

    @property
    def total(self) -> float:
        """Sum over the tokens, nats."""
        return sum(self.logprobs)


class Engine(ABC):
    """A language model. Engines answer in the order asked and never raise for one bad request."""

    label: str
    """Name for the ``model`` column; says plainly when there is no model behind it."""

    @abstractmethod
    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers prompts. One answer per request, in order."""

    @abstractmethod
    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts. One score per request, in order."""

    # Optional hook: only engines that run the model themselves know.
    def work(self) -> dict[str, int]:
        """Returns what scoring took so far, as counts; the same requests give the same counts."""
        return {}

    # Optional hook: most engines hold nothing that must be let go.
    def close(self) -> None:  # noqa: B027
        """Lets go of the model or connection."""


def open_engine(config: EngineConfig, model: str | None = None) -> Engine:
    """Opens the engine a recipe section describes. Heavy imports happen here, not before.

    Args:
        config: the recipe section.
        model: where the model's files are, if the recipe named a stage; default ``config.model``.

    Raises:
        EngineError: the engine's package is missing, the model cannot be loaded, or the server
            does not answer.
    """
    name = model or config.model or ""
    if config.kind == "rules":
        from core.llm.rules import RulesEngine

        return RulesEngine()
    if config.kind == "transformers":
        from core.llm.local import TransformersEngine

        return TransformersEngine(name, config)
    if config.kind == "vllm":
        from core.llm.vllm_offline import VllmEngine

        return VllmEngine(name, config)
    if config.kind == "kenlm":
        from core.llm.ngram import NgramEngine

        return NgramEngine(name)
    from core.llm.openai_client import OpenAiEngine

    return OpenAiEngine(name, config)


__all__ = [
    "Engine",
    "EngineConfig",
    "GenerateRequest",
    "Generation",
    "Sampling",
    "Score",
    "ScoreRequest",
    "open_engine",
]
