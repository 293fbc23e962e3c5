"""How the engine ``transformers`` draws and ends its answers, each row on its own."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from core.errors import EngineError
from core.recipe.engine import Sampling


@dataclass(frozen=True)
class Prompt:
    """What the model is to continue, and how; ``request`` is its number."""

    request: int
    ids: list[int]
    max_new_tokens: int
    grammar: Any
    seed: int
    stop: tuple[str, ...]


class Sampler:
    """Draws each row with its own generator, so that a draw does not depend on the batch.

    Adding Gumbel noise to log-probabilities and taking the maximum is drawing from them; greedy
    decoding then takes the maximum.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling = sampling
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Returns scores (B, V) whose maximum is the draw."""
        logprobs = torch.log_softmax(scores.float() / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            ordered, order = logprobs.sort(dim=-1, descending=True)
            before = ordered.exp().cumsum(dim=-1) - ordered.exp()
            outside = torch.zeros_like(before, dtype=torch.bool)
            outside.scatter_(1, order, before >= self._sampling.top_p)
            logprobs = logprobs.masked_fill(outside, -math.inf)
        # Drawn on the CPU: the same seed gives the same draw on any device.
        uniform = torch.stack([torch.rand(scores.shape[1], generator=g) for g in self._generators])
        noise = -torch.log(-torch.log(uniform.clamp(min=1e-20, max=1 - 1e-7)))
        return logprobs + noise.to(logprobs.device)


class StopAt(StoppingCriteria):
    """Ends each row at its own stop strings, and notes where.

    Args:
        tokenizer: the model's.
        prompts: the rows.
        width: tokens of every row's (padded) prompt.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], width: int
    ) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._width = width
        self.ended: dict[int, int] = {}
        """Tokens that a row took up to and with its stop string."""

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """Returns which rows (B,) have ended."""
        for row, prompt in enumerate(self._prompts):
            if row in self.ended or not prompt.stop:
                continue
            # A character is at most four tokens (its UTF-8 bytes): the tail holds any stop string
            # that the last token ended.
            tail = 4 * max(len(stop) for stop in prompt.stop) + 4
            new = input_ids[row, self._width :].tolist()
            text = self._tokenizer.decode(new[-tail:], skip_special_tokens=True)
            if any(stop in text for stop in prompt.stop):
                self.ended[row] = len(new)
        done = [row in self.ended for row in range(len(self._prompts))]
        return torch.tensor(done, device=input_ids.device)  # type: ignore[return-value]


def before_stop(text: str, stop: Sequence[str]) -> str:
    """Returns the text in front of the first stop string."""
    places = [place for s in stop if (place := text.find(s)) >= 0]
    return text[: min(places)] if places else text


def alike(prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """Groups prompts that can share a call.

    Equal room for the answer; all or none with a schema; all or none with stop strings.
    """
    groups: dict[tuple[int, bool, bool], list[Prompt]] = {}
    for prompt in prompts:
        key = (prompt.max_new_tokens, prompt.grammar is not None, bool(prompt.stop))
        groups.setdefault(key, []).append(prompt)
    yield from groups.values()


def xgrammar_module(module: str) -> Any:
    """Imports a module of xgrammar.

    Raises:
        EngineError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EngineError(
            "answers under a JSON schema need the package xgrammar",
            where="engine kind 'transformers'",
            remedy="pip install xgrammar, or use engine kind 'vllm' or 'openai'",
        ) from error
