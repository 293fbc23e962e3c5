"""Engine ``transformers``: a local Hugging Face model in this process.

For perplexity scoring, multiple choice and tiny models on CPUs. Scores are plain log-softmax
values of a float32 copy of the logits.

Reproducibility: distinct texts are batched by length, equal lengths by content, with padding on the
right, which a causal model never sees. So the same set of requests makes the same batches in any
order, and a score depends on what else is asked only through the order of floating-point sums
(about 1e-6 relative in float32, 1e-2 per token in bfloat16). On the CPU one thread is used,
because the number of threads changes that order too; run more workers instead.

A text longer than a window is scored in strides: each token once, and from the second window on
with at least half a window of text on its left. A window is the model's context, or
``batch_tokens`` if that is less, so that memory is bounded whatever the text; ``L`` tokens with the
beginning-of-text token, which only the first window has::

    window 1  [0 ........... L)              scores all but the first
    window 2        [L/2 ......... 3L/2)     scores the second half
    window 3               ...               the last one ends with the text and is L long too
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.chat import BadTurnsError
from core.errors import EngineError
from core.llm.engine import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.llm.prompts import chat_ids, score_ids
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling

log = logging.getLogger(__name__)

_LOGIT_BUDGET = 1 << 25
"""Logits in float32 held at once: 128 MiB."""

_CPU_BATCH_TOKENS = 2048
"""A batch whose states stay in a core's cache: a quarter faster than one of 16,384 tokens."""

_SPARE_TOKENS = 64
"""Padding that costs less than another forward pass would."""


@dataclass(frozen=True)
class _Window:
    """Tokens of one forward pass; positions ``first:`` are scored."""

    request: int
    ids: list[int]
    first: int


@dataclass(frozen=True)
class _Prompt:
    request: int
    ids: list[int]
    max_new_tokens: int
    grammar: Any
    seed: int


class TransformersEngine(Engine):
    """A causal language model loaded with transformers.

    Args:
        model_path: folder with config, safetensors weights and tokenizer.
        config: the recipe section.

    Raises:
        EngineError: the folder is missing or holds no such model.
    """

    def __init__(self, model_path: str, config: EngineConfig) -> None:
        self.label = config.model or Path(model_path).name
        self._config = config
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cpu":
            torch.set_num_threads(1)
        self._tokenizer, self._model = _load(model_path, config, self._device)
        limit = int(self._model.config.max_position_embeddings)
        self._limit = min(limit, config.max_model_len or limit)
        self._window = min(self._limit, config.batch_tokens)
        self._batch_tokens = config.batch_tokens
        if self._device.type == "cpu":
            self._batch_tokens = min(self._batch_tokens, _CPU_BATCH_TOKENS)
        self._work = {"forward_tokens": 0, "padding_tokens": 0, "repeated_texts": 0}
        self._grammars: Any = None
        _check_head(self._model, self._device, model_path)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts; see :class:`core.llm.engine.Engine`. A text of no tokens scores ``()``."""
        errors: dict[int, str] = {}
        windows: list[_Window] = []
        for number, request in enumerate(requests):
            try:
                ids, first = score_ids(self._tokenizer, request)
            except (BadTurnsError, UnicodeError, TypeError) as error:
                errors[number] = str(error)
            else:
                windows += _windows(number, ids, first, self._window)
        # Windows of one text come in order, so their parts are joined in order below.
        parts: dict[int, list[list[float]]] = {n: [] for n in range(len(requests))}
        for window, values in zip(windows, self._score_windows(windows), strict=True):
            parts[window.request].append(values)
        return [
            Score((), errors[n]) if n in errors else Score(tuple(x for p in parts[n] for x in p))
            for n in range(len(requests))
        ]

    def work(self) -> dict[str, int]:
        """Returns what scoring took since the engine was opened, in tokens and texts."""
        return dict(self._work)

    def _score_windows(self, windows: Sequence[_Window]) -> list[list[float]]:
        # Headings and boilerplate come many times: each distinct window is read once.
        numbers = {(tuple(w.ids), w.first): n for n, w in enumerate(windows)}
        self._work["repeated_texts"] += len(windows) - len(numbers)
        keys = sorted(numbers, key=lambda key: (len(key[0]), key))
        found: dict[tuple[tuple[int, ...], int], list[float]] = {}
        lengths = [len(ids) for ids, _ in keys]
        for batch in _batches(lengths, self._batch_tokens, spare_padding=True):
            chosen = [keys[n] for n in batch]
            parts = self._forward([windows[numbers[key]] for key in chosen])
            found.update(zip(chosen, parts, strict=True))
        return [found[tuple(w.ids), w.first] for w in windows]

    @torch.inference_mode()
    def _forward(self, windows: Sequence[_Window]) -> list[list[float]]:
        """Returns the log-probabilities of each window's scored tokens."""
        width = max(len(w.ids) for w in windows)
        tokens = sum(len(w.ids) for w in windows)
        self._work["forward_tokens"] += tokens
        self._work["padding_tokens"] += width * len(windows) - tokens
        # Whatever pads on the right is never attended to: causal attention needs no mask for it.
        padded = [w.ids + [0] * (width - len(w.ids)) for w in windows]
        input_ids = torch.tensor(padded, device=self._device)  # (B, S)
        hidden = self._model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        rows = [
            hidden[row, w.first - 1 : len(w.ids) - 1] for row, w in enumerate(windows)
        ]  # each (tokens, H): the state before a token predicts it
        targets = [input_ids[row, w.first : len(w.ids)] for row, w in enumerate(windows)]
        logprobs = self._gather(torch.cat(rows), torch.cat(targets))
        parts = torch.split_with_sizes(logprobs, [len(t) for t in targets])
        return [part.tolist() for part in parts]

    def _gather(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns log P(target) per row; hidden is (N, H), targets (N,)."""
        head = self._model.get_output_embeddings()
        chunk = max(1, _LOGIT_BUDGET // int(self._model.config.vocab_size))
        parts = []
        for start in range(0, len(targets), chunk):
            logits = head(hidden[start : start + chunk]).float()  # (chunk, V)
            chosen = logits.gather(1, targets[start : start + chunk, None])[:, 0]
            parts.append(chosen - logits.logsumexp(dim=1))
        return torch.cat(parts).cpu() if parts else torch.empty(0)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers prompts; see :class:`core.llm.engine.Engine`.

        Raises:
            EngineError: a schema is asked for and ``xgrammar`` is not installed.
        """
        answers: list[Generation | None] = [None] * len(requests)
        prompts: list[_Prompt] = []
        for number, request in enumerate(requests):
            try:
                prompts.append(self._prompt(number, request))
            except (BadTurnsError, UnicodeError, TypeError, RuntimeError) as error:
                answers[number] = Generation("", "error", error=str(error))
        for group in _alike(prompts):
            lengths = [len(p.ids) + p.max_new_tokens for p in group]
            for batch in _batches(lengths, self._config.batch_tokens):
                chosen = [group[n] for n in batch]
                for prompt, answer in zip(chosen, self._generate(chosen), strict=True):
                    answers[prompt.request] = answer
        return [a for a in answers if a is not None]

    def _prompt(self, number: int, request: GenerateRequest) -> _Prompt:
        ids = chat_ids(self._tokenizer, request.messages)
        room = self._limit - len(ids)
        if room < 1:
            raise BadTurnsError(f"prompt of {len(ids)} tokens; the context holds {self._limit}")
        new = min(room, self._config.sampling.max_tokens)
        grammar = None if request.schema is None else self._compile(request.schema)
        return _Prompt(number, ids, new, grammar, request.seed)

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[_Prompt]) -> list[Generation]:
        pad, stops = self._pad_id(), self._stop_ids()
        width = max(len(p.ids) for p in prompts)
        # Padding on the left: every row's next token stands at the same position.
        ids = [[pad] * (width - len(p.ids)) + p.ids for p in prompts]
        mask = [[0] * (width - len(p.ids)) + [1] * len(p.ids) for p in prompts]
        processors: list[Any] = []
        if prompts[0].grammar is not None:
            xgrammar_hf = _xgrammar("xgrammar.contrib.hf")
            processors.append(xgrammar_hf.LogitsProcessor([p.grammar for p in prompts]))
        if self._config.sampling.temperature > 0:
            processors.append(_Sampler(self._config.sampling, [p.seed for p in prompts]))
        output = self._model.generate(
            input_ids=torch.tensor(ids, device=self._device),
            attention_mask=torch.tensor(mask, device=self._device),
            max_new_tokens=prompts[0].max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=stops,
            pad_token_id=pad,
            logits_processor=processors,
        )
        return [
            self._answer(prompt, row[width:].tolist(), stops)
            for prompt, row in zip(prompts, output, strict=True)
        ]

    def _answer(self, prompt: _Prompt, new: list[int], stops: list[int]) -> Generation:
        end = next((n for n, token in enumerate(new) if token in stops), None)
        text = self._tokenizer.decode(new[:end], skip_special_tokens=True)
        return Generation(
            text=text,
            finish_reason="length" if end is None else "stop",
            prompt_tokens=len(prompt.ids),
            completion_tokens=len(new) if end is None else end + 1,
        )

    def _stop_ids(self) -> list[int]:
        given = self._model.generation_config.eos_token_id
        stops = set(given if isinstance(given, list) else [given])
        vocabulary = self._tokenizer.get_vocab()
        stops |= {self._tokenizer.eos_token_id, vocabulary.get("<|eot_id|>")}
        return sorted(s for s in stops if s is not None)

    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(self._stop_ids()[0] if pad is None else pad)

    def _compile(self, schema: dict[str, Any]) -> Any:
        """Compiles a JSON Schema; raises RuntimeError for one that is not valid."""
        if self._grammars is None:
            xgrammar = _xgrammar("xgrammar")
            info = xgrammar.TokenizerInfo.from_huggingface(
                self._tokenizer,
                vocab_size=self._model.config.vocab_size,
                stop_token_ids=self._stop_ids(),
            )
            self._grammars = xgrammar.GrammarCompiler(info)
        # Free white space would let a weak model fill its budget with blanks.
        return self._grammars.compile_json_schema(schema, any_whitespace=False)


class _Sampler:
    """Draws each row with its own generator, so that a draw does not depend on the batch.

    Adding Gumbel noise to log-probabilities and taking the maximum is drawing from them; greedy
    decoding then takes the maximum.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling = sampling
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
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


def _load(model_path: str, config: EngineConfig, device: torch.device) -> tuple[Any, Any]:
    """Returns tokenizer and model of a local folder."""
    folder = Path(model_path)
    remedy = "name a folder with config.json, *.safetensors and tokenizer.json, or a train stage"
    if not (folder / "config.json").is_file():
        raise EngineError("there is no model here", where=model_path, remedy=remedy)
    # A bar per worker and load would drown the run's own.
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    dtype = getattr(torch, _dtype(config, device))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        what = f"the model cannot be loaded: {str(error).splitlines()[0]}"
        raise EngineError(what, where=model_path, remedy=remedy) from error
    if not tokenizer.is_fast:
        raise EngineError(
            "the tokenizer gives no character offsets",
            where=model_path,
            remedy="add the model's tokenizer.json (a fast tokenizer)",
        )
    return tokenizer, model.to(device).eval()


def _dtype(config: EngineConfig, device: torch.device) -> str:
    """Returns the number format: by itself bfloat16 on a GPU and float32 on a CPU.

    Few CPUs are fast in 16 bits, and float32 makes scores the same in any batch to 1e-6.
    """
    if config.dtype != "auto":
        return config.dtype
    return "float32" if device.type == "cpu" else "bfloat16"


@torch.inference_mode()
def _check_head(model: Any, device: torch.device, model_path: str) -> None:
    """Checks that logits are the head's output: scoring applies the head to chosen states only."""
    probe = torch.tensor([[0, 1, 2, 3]], device=device)
    expected = model(input_ids=probe, use_cache=False).logits
    hidden = model.base_model(input_ids=probe, use_cache=False).last_hidden_state
    if not torch.allclose(model.get_output_embeddings()(hidden), expected, rtol=1e-2, atol=1e-2):
        raise EngineError(
            f"{type(model).__name__} changes its logits after the output layer",
            where=model_path,
            remedy="score with a Llama-like model, or through the engine kind 'vllm'",
        )


def _windows(request: int, ids: list[int], first: int, limit: int) -> Iterator[_Window]:
    """Cuts tokens into windows of at most ``limit`` in which each token is scored once.

    With ``n`` tokens from ``first`` on to score, the windows end at ``limit``, then every
    ``limit // 2`` tokens, then at the end; each begins ``limit`` tokens before its end (or at the
    text's first token) and scores what the one before it did not.
    """
    position, stride = first, max(1, limit // 2)
    while position < len(ids):
        end = min(len(ids), max(limit, position + stride))
        begin = max(0, end - limit)
        yield _Window(request, ids[begin:end], position - begin)
        position = end


def _batches(
    lengths: Sequence[int], budget_tokens: int, spare_padding: bool = False
) -> Iterator[list[int]]:
    """Groups numbers of similar length; a group padded to its longest stays in the budget.

    Args:
        lengths: tokens of each.
        budget_tokens: padded tokens of a group.
        spare_padding: more groups rather than one that is padded by more than an eighth.
    """
    batch: list[int] = []
    tokens = 0
    for number in sorted(range(len(lengths)), key=lambda n: (lengths[n], n)):
        padded = lengths[number] * (len(batch) + 1)
        waste = padded - tokens - lengths[number]
        wasteful = spare_padding and waste > _SPARE_TOKENS + padded // 8
        if batch and (padded > budget_tokens or wasteful):
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += lengths[number]
    if batch:
        yield batch


def _alike(prompts: Sequence[_Prompt]) -> Iterator[list[_Prompt]]:
    """Groups prompts that can share a call: equal room for the answer, all or none with schema."""
    groups: dict[tuple[int, bool], list[_Prompt]] = {}
    for prompt in prompts:
        groups.setdefault((prompt.max_new_tokens, prompt.grammar is not None), []).append(prompt)
    yield from groups.values()


def _xgrammar(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EngineError(
            "answers under a JSON schema need the package xgrammar",
            where="engine kind 'transformers'",
            remedy="pip install xgrammar, or use engine kind 'vllm' or 'openai'",
        ) from error


__all__ = ["TransformersEngine"]
