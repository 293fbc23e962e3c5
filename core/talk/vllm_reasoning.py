"""A reasoning parser for vLLM's server, loaded by it: ``--reasoning-parser-plugin``.

vLLM's own parsers look for ``<think>`` and ``</think>`` as single tokens and do not start without
them: Llama 3 has none. They also take an answer without tags for reasoning, which is wrong for a
model whose reasoning is switched by the prompt. This one reads the text, by the same rules as
everything else here (:mod:`core.talk.reasoning`).

Two names: ``astromill`` puts reasoning into the field ``reasoning``; ``astromill_hidden`` drops it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from vllm.reasoning import ReasoningParser, ReasoningParserManager

from core.talk.reasoning import OPEN, ThinkSplitter, split_reasoning

_TAIL_TOKENS = 16
"""The tag is four tokens of Llama 3; a byte-level vocabulary needs seven."""

_PLACES = ("vllm.entrypoints.generate.base.protocol", "vllm.entrypoints.openai.engine.protocol")
"""Modules that hold ``DeltaMessage``: of vLLM 0.32, and of versions before."""


def _delta_message() -> Any:
    for place in _PLACES:
        try:
            return importlib.import_module(place).DeltaMessage
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"this vLLM has no DeltaMessage in {' or '.join(_PLACES)}")


DeltaMessage = _delta_message()


class TextReasoningParser(ReasoningParser):  # type: ignore[misc, unused-ignore]  # vLLM may be absent
    """Tells reasoning apart by text; one for each answer."""

    hidden = False

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._splitter = ThinkSplitter()
        self._told = False
        self._thought = ""

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        """Begins inside the reasoning where the prompt ends with ``<think>``."""
        tail = self.model_tokenizer.decode(list(prompt_token_ids[-_TAIL_TOKENS:]))
        self._splitter = ThinkSplitter(tail.rstrip().endswith(OPEN))

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Returns False: all text comes through here, also what follows the reasoning."""
        return False

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        """Returns False, for the same reason."""
        return False

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """Returns all tokens: where the answer begins is not known by tokens."""
        return input_ids

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """Returns the tokens of the reasoning, counted by its text."""
        if not self._thought:
            return 0
        return len(self.model_tokenizer.encode(self._thought, add_special_tokens=False))

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """Returns (reasoning, answer) of a whole answer."""
        self._thought, answer = split_reasoning(model_output, _prefilled(request))
        return (None if self.hidden else self._thought or None), answer

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> Any:
        """Returns what is certain after more text."""
        return self._message(self._splitter.feed(delta_text))

    def get_streaming_fallback_content(self, text: str, request: Any) -> str | None:
        """Returns what was held back when the answer ended: half of a tag."""
        parts = self._splitter.finish()
        return "".join(part.text for part in parts if part.kind == "answer") or None

    def _message(self, parts: Sequence[Any]) -> Any:
        reasoning = "".join(part.text for part in parts if part.kind == "reasoning")
        answer = "".join(part.text for part in parts if part.kind == "answer")
        self._thought += reasoning
        if reasoning and self.hidden:
            # An empty text, once, tells a client that reasoning is told apart here.
            reasoning, told, self._told = "", self._told, True
            if not answer:
                return None if told else DeltaMessage(reasoning="")
        if reasoning and answer:
            return DeltaMessage(reasoning=reasoning, content=answer)
        if reasoning:
            return DeltaMessage(reasoning=reasoning)
        return DeltaMessage(content=answer) if answer else None


class HiddenReasoningParser(TextReasoningParser):
    """Drops reasoning."""

    hidden = True


def _prefilled(request: Any) -> bool:
    """Returns whether a request's prompt ended inside the reasoning."""
    messages = getattr(request, "messages", None) or []
    if not messages or not getattr(request, "continue_final_message", False):
        return False
    last = messages[-1]
    content = last.get("content") if isinstance(last, dict) else getattr(last, "content", None)
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return isinstance(content, str) and content.rstrip().endswith(OPEN)


ReasoningParserManager.register_module("astromill", module=TextReasoningParser)
ReasoningParserManager.register_module("astromill_hidden", module=HiddenReasoningParser)
