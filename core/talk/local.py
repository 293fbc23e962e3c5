"""A voice: a model folder in this process, through transformers.

Text comes from a thread that generates, word by word. One answer at a time: a second one waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from core.chat import BadTurnsError
from core.errors import EngineError
from core.llm.decoding import Prompt, Sampler, StopAt
from core.llm.engine import GenerateRequest
from core.llm.local_load import load
from core.llm.prompts import chat_ids, control_id, generate_ids
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from core.talk.conversation import Messages
from core.talk.reasoning import OPEN, Part, ThinkSplitter
from core.talk.stops import StopCutter
from core.talk.voice import Ask, End, FinishReason, Voice


class LocalVoice(Voice):
    """A causal language model of a local folder.

    Args:
        folder: config, safetensors weights and tokenizer.
        label: name to show; absent: the folder's.
        max_model_len: context in tokens; absent: the model's own.
        dtype: of the weights; ``auto``: bfloat16 on a GPU and float32 on a CPU.

    Raises:
        EngineError: there is no such model, or it cannot be loaded.
    """

    def __init__(
        self,
        folder: Path,
        label: str | None = None,
        max_model_len: int | None = None,
        dtype: str = "auto",
    ) -> None:
        config = EngineConfig.model_validate(
            {"kind": "transformers", "model": str(folder), "dtype": dtype}
        )
        self.label = label or folder.name
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer, self._model = load(str(folder), config, self._device)
        limit = int(self._model.config.max_position_embeddings)
        self.window: int = min(limit, max_model_len or limit)
        self.chats = bool(self._tokenizer.chat_template)
        self._one_at_a_time = threading.Lock()

    def count(self, messages: Messages) -> int:
        """Returns the tokens of a prompt, the header of the answer included."""
        return len(chat_ids(self._tokenizer, messages))

    def tokens(self, text: str) -> int:
        """Returns the tokens of a text by itself."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def speak(self, ask: Ask, stopped: threading.Event) -> Iterator[Part | End]:
        """Yields the answer; see :class:`core.talk.voice.Voice`."""
        ids = self._ids(ask)
        room = self.window - len(ids)
        if room < 1:
            raise BadTurnsError(
                f"the prompt has {len(ids):,} tokens; the model's context holds {self.window:,}"
            )
        with self._one_at_a_time:
            yield from self._speak(ask, ids, min(room, ask.max_tokens), stopped)

    def _ids(self, ask: Ask) -> list[int]:
        if not ask.messages:
            return generate_ids(self._tokenizer, GenerateRequest(prompt=ask.prompt))
        ids = chat_ids(self._tokenizer, ask.messages)
        if ask.prefill:
            ids += self._tokenizer(OPEN, add_special_tokens=False)["input_ids"]
        return ids

    def _speak(
        self, ask: Ask, ids: list[int], max_new_tokens: int, stopped: threading.Event
    ) -> Iterator[Part | End]:
        run = _Run(self._model, self._tokenizer, self._stop_ids(), ask, ids, stopped)
        run.start(max_new_tokens, self._pad_id())
        splitter = ThinkSplitter(ask.prefill)
        cutter = StopCutter(ask.stop)
        try:
            for piece in run.streamer:
                yield from _parts(cutter.feed(piece), splitter, ask)
            yield from _parts(cutter.finish(), splitter, ask)
            yield from splitter.finish()
        finally:
            run.end()
        if run.error is not None:
            raise EngineError(
                f"the model failed while it answered: {f'{run.error} '.splitlines()[0].strip()}",
                where=self.label,
                remedy="if memory ran out, take a smaller model, a shorter context "
                "(--max-model-len) or the engine vllm",
            ) from run.error
        reasoning = self.tokens(splitter.reasoning) if splitter.reasoning else 0
        yield End(run.finish_reason(), len(ids), run.new_tokens, reasoning)

    def _stop_ids(self) -> list[int]:
        given = self._model.generation_config.eos_token_id
        stops = set(given if isinstance(given, list) else [given])
        stops |= {self._tokenizer.eos_token_id, control_id(self._tokenizer, "<|eot_id|>")}
        return sorted(s for s in stops if s is not None)

    def _pad_id(self) -> int | None:
        pad = self._tokenizer.pad_token_id
        stops = self._stop_ids()
        return int(pad) if pad is not None else (stops[0] if stops else None)


class _StopWhenAsked(StoppingCriteria):
    """Ends the answer once the event is set."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """Returns which rows (B,) have ended."""
        done = torch.full((input_ids.shape[0],), self._stopped.is_set(), device=input_ids.device)
        return done  # type: ignore[return-value]


class _Run:
    """One answer in the making, in a thread of its own."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        stop_ids: list[int],
        ask: Ask,
        ids: list[int],
        stopped: threading.Event,
    ) -> None:
        self._model, self._stop_ids, self._ask, self._ids = model, stop_ids, ask, ids
        self._stopped = stopped
        # A caller that goes away must not leave the thread running on.
        self._given_up = threading.Event()
        self.streamer: Any = TextIteratorStreamer(
            tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        prompt = Prompt(0, ids, ask.max_tokens, None, ask.seed or 0, ask.stop)
        self._stop_at = StopAt(tokenizer, [prompt], len(ids))
        self.error: Exception | None = None
        self.new_tokens = 0
        self._ended_itself = False

    def start(self, max_new_tokens: int, pad: int | None) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(
            target=self._generate, args=(max_new_tokens, pad), daemon=True, name="talk"
        )
        self._thread.start()

    def end(self) -> None:
        """Waits for the thread, which stops after the token that it is at."""
        self._given_up.set()
        self._thread.join()

    def finish_reason(self) -> FinishReason:
        """Returns how the answer ended."""
        if self._ended_itself:
            return "stop"
        return "interrupted" if self._stopped.is_set() else "length"

    def _generate(self, max_new_tokens: int, pad: int | None) -> None:
        ask = self._ask
        criteria: list[Any] = [_StopWhenAsked(self._stopped), _StopWhenAsked(self._given_up)]
        criteria += [self._stop_at] if ask.stop else []
        processors: list[Any] = []
        if ask.temperature > 0:
            sampling = Sampling(temperature=ask.temperature, top_p=ask.top_p)
            seed = torch.seed() if ask.seed is None else ask.seed
            processors.append(Sampler(sampling, [seed]))
        device = self._model.device
        try:
            with torch.inference_mode():
                output = self._model.generate(
                    input_ids=torch.tensor([self._ids], device=device),
                    attention_mask=torch.ones((1, len(self._ids)), device=device),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    eos_token_id=self._stop_ids or None,
                    pad_token_id=pad,
                    logits_processor=processors,
                    stopping_criteria=StoppingCriteriaList(criteria),
                    streamer=self.streamer,
                )
            new = output[0, len(self._ids) :].tolist()
            self.new_tokens = len(new)
            self._ended_itself = bool(new) and (
                new[-1] in self._stop_ids or 0 in self._stop_at.ended
            )
        except Exception as error:  # whatever torch raises: out of memory, a bad kernel
            self.error = error
            self.streamer.end()


def _parts(text: str, splitter: ThinkSplitter, ask: Ask) -> list[Part]:
    if ask.messages:
        return splitter.feed(text)
    # A continued text is no answer: nothing in it is reasoning.
    return [Part("answer", text)] if text else []
