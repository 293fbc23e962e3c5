"""The engine interface and the factory that opens one from a recipe section."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling

SLICE_REQUESTS = 256
"""Requests that an engine without a stream of its own answers at once."""


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
        prefill: what the assistant's turn begins with (``<think>``), with ``messages`` only; it
            is no part of the answer's text.
    """

    messages: tuple[dict[str, str], ...] = ()
    schema: dict[str, Any] | None = None
    task: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    prompt: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    prefill: str = ""


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


@dataclass(frozen=True, kw_only=True)
class ChoiceRequest:
    """A prompt and the answers to choose from.

    Args:
        prompt: plain text that the alternatives continue.
        messages: chat turns instead of ``prompt``: rendered with the generation prompt.
        choices: the alternatives, with the space in front where one belongs (``" A"``). Cheapest
            where each is one token; right where not.
        cut: a prompt longer than the context loses its beginning instead of being an error, as in
            lm-eval; only engines that hold the tokenizer can, and where each choice is one token.
    """

    choices: tuple[str, ...]
    prompt: str = ""
    messages: tuple[dict[str, str], ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class Choice:
    """Log-probability (nats) of each alternative as the continuation, in the order asked.

    ``error`` says why there are none.
    """

    logprobs: tuple[float, ...]
    error: str | None = None

    @property
    def best(self) -> int:
        """Position of the likeliest alternative, the first of equals."""
        return max(range(len(self.logprobs)), key=self.logprobs.__getitem__)


class Engine(ABC):
    """A language model. Engines answer in the order asked and never raise for one bad request."""

    label: str
    """Name for the ``model`` column; says plainly when there is no model behind it."""

    @abstractmethod
    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers prompts. One answer per request, in order."""

    def stream(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
        """Answers prompts; yields ``(number, answer)`` as they are ready, in any order.

        Closing the iterator gives up what is still under way.
        """
        for start in range(0, len(requests), SLICE_REQUESTS):
            answers = self.generate(requests[start : start + SLICE_REQUESTS])
            yield from enumerate(answers, start)

    @abstractmethod
    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts. One score per request, in order."""

    def choose(self, requests: Sequence[ChoiceRequest]) -> list[Choice]:
        """Weighs alternatives. One choice per request, in order.

        An alternative of several tokens gets the sum of their log-probabilities. This way is right
        for every engine that scores; those that can do with one forward pass per prompt.
        """
        errors = {n: fault for n, r in enumerate(requests) if (fault := choice_fault(r))}
        asked = [
            (number, ScoreRequest(choice, prefix=r.prompt, messages=r.messages))
            for number, r in enumerate(requests)
            if number not in errors
            for choice in r.choices
        ]
        totals: dict[int, list[float]] = {n: [] for n in range(len(requests))}
        for (number, _), score in zip(asked, self.score([s for _, s in asked]), strict=True):
            totals[number].append(score.total)
            if score.error is None and not score.logprobs:
                errors.setdefault(number, "an alternative of no tokens")
            elif score.error is not None:
                errors.setdefault(number, score.error)
        return [
            Choice((), errors[n]) if n in errors else Choice(tuple(totals[n]))
            for n in range(len(requests))
        ]

    # Optional hook: only engines that run the model themselves know.
    def work(self) -> dict[str, int]:
        """Returns what scoring took so far, as counts; the same requests give the same counts."""
        return {}

    # Optional hook: most engines hold nothing that must be let go.
    def close(self) -> None:  # noqa: B027
        """Lets go of the model or connection."""


def choice_fault(request: ChoiceRequest) -> str | None:
    """Returns why a choice cannot be asked, or None."""
    if not request.choices:
        return "no alternatives to choose from"
    return "an alternative is empty" if "" in request.choices else None


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
    "Choice",
    "ChoiceRequest",
    "Engine",
    "EngineConfig",
    "GenerateRequest",
    "Generation",
    "Sampling",
    "Score",
    "ScoreRequest",
    "choice_fault",
    "open_engine",
]
