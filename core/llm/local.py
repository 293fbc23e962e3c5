"""Engine ``transformers``: a local Hugging Face model in this process.

For perplexity scoring, multiple choice and tiny models on CPUs. Scores are plain log-softmax
values of a float32 copy of the logits.

Reproducibility: distinct texts are batched by length, equal lengths by content, with padding on the
right, which a causal model never sees. So the same set of requests makes the same batches in any
order, and a score depends on what else is asked only through the order of floating-point sums
(about 1e-6 relative in float32, 1e-2 per token in bfloat16). On the CPU one thread is used,
because the number of threads changes that order too; run more workers instead.

How long texts are cut into windows is told in :mod:`core.llm.windows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.chat import BadTurnsError
from core.llm.decoding import Prompt, Sampler, StopAt, alike, before_stop, xgrammar_module
from core.llm.engine import (
    Choice,
    ChoiceRequest,
    Engine,
    GenerateRequest,
    Generation,
    Score,
    ScoreRequest,
    choice_fault,
)
from core.llm.local_load import check_head, load
from core.llm.prompts import choice_ids, control_id, generate_ids, score_ids
from core.llm.shared_prefix import Group, PrefixStates, can_share, group_prefixes
from core.llm.windows import Window, batches, cut_windows
from core.recipe.engine import Engine as EngineConfig

_LOGIT_BUDGET = 1 << 25
"""Logits in float32 held at once: 128 MiB."""

_CHOICES_AT_ONCE = 4096
"""Prompts among which common beginnings are looked for."""

_CPU_BATCH_TOKENS = 2048
"""A batch whose states stay in a core's cache: a quarter faster than one of 16,384 tokens."""


@dataclass(frozen=True)
class _Job:
    """A prompt's tokens, and the tokens to weigh behind them.

    The last ``head_tokens`` of the prompt belong to the alternatives: what all of them begin with.
    """

    request: int
    ids: list[int]
    head_tokens: int
    tokens: list[int]


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
        self._tokenizer, self._model = load(model_path, config, self._device)
        limit = int(self._model.config.max_position_embeddings)
        self._limit = min(limit, config.max_model_len or limit)
        self._window = min(self._limit, config.batch_tokens)
        self._batch_tokens = config.batch_tokens
        if self._device.type == "cpu":
            self._batch_tokens = min(self._batch_tokens, _CPU_BATCH_TOKENS)
        self._work = {"forward_tokens": 0, "padding_tokens": 0, "repeated_texts": 0}
        self._grammars: Any = None
        self._shares = can_share(self._model)
        check_head(self._model, self._device, model_path)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts; see :class:`core.llm.engine.Engine`. A text of no tokens scores ``()``."""
        errors: dict[int, str] = {}
        windows: list[Window] = []
        for number, request in enumerate(requests):
            try:
                ids, first = score_ids(self._tokenizer, request)
            except (BadTurnsError, UnicodeError, TypeError) as error:
                errors[number] = str(error)
            else:
                windows += cut_windows(number, ids, first, self._window)
        # Windows of one text come in order, so their parts are joined in order below.
        parts: dict[int, list[list[float]]] = {n: [] for n in range(len(requests))}
        for window, values in zip(windows, self._score_windows(windows), strict=True):
            parts[window.request].append(values)
        return [
            Score((), errors[n]) if n in errors else Score(tuple(x for p in parts[n] for x in p))
            for n in range(len(requests))
        ]

    def choose(self, requests: Sequence[ChoiceRequest]) -> list[Choice]:
        """Weighs alternatives; see :class:`core.llm.engine.Engine`.

        One forward pass per prompt where every alternative is one token, and one for what many
        prompts begin with.
        """
        return [
            choice
            for start in range(0, len(requests), _CHOICES_AT_ONCE)
            for choice in self._choose(requests[start : start + _CHOICES_AT_ONCE])
        ]

    def _choose(self, requests: Sequence[ChoiceRequest]) -> list[Choice]:
        answers: dict[int, Choice] = {}
        jobs: list[_Job] = []
        scored: list[int] = []
        for number, request in enumerate(requests):
            fault = choice_fault(request)
            try:
                ids, head, tokens = ([], [], []) if fault else choice_ids(self._tokenizer, request)
            except (BadTurnsError, UnicodeError, TypeError) as error:
                fault, ids, head, tokens = str(error), [], [], []
            if len(ids) + len(head) > self._limit and not (request.cut and tokens):
                fault = f"prompt of {len(ids)} tokens; the context holds {self._limit}"
            if fault:
                answers[number] = Choice((), fault)
            elif tokens is None:
                scored.append(number)
            else:
                whole = [*ids, *head][-self._limit :]
                jobs.append(_Job(number, whole, min(len(head), len(whole) - 1), tokens))
        for group in self._groups(jobs):
            members = [jobs[n] for n in group.members]
            weighed = self._weigh_group(group.length_tokens, members)
            answers |= zip((job.request for job in members), weighed, strict=True)
        fallback = super().choose([requests[n] for n in scored])
        answers |= zip(scored, fallback, strict=True)
        return [answers[n] for n in range(len(requests))]

    def work(self) -> dict[str, int]:
        """Returns what scoring took since the engine was opened, in tokens and texts."""
        return dict(self._work)

    def _score_windows(self, windows: Sequence[Window]) -> list[list[float]]:
        # Headings and boilerplate come many times: each distinct window is read once.
        numbers = {(tuple(w.ids), w.first): n for n, w in enumerate(windows)}
        self._work["repeated_texts"] += len(windows) - len(numbers)
        keys = sorted(numbers, key=lambda key: (len(key[0]), key))
        found: dict[tuple[tuple[int, ...], int], list[float]] = {}
        lengths = [len(ids) for ids, _ in keys]
        for batch in batches(lengths, self._batch_tokens, spare_padding=True):
            chosen = [keys[n] for n in batch]
            parts = self._forward([windows[numbers[key]] for key in chosen])
            found.update(zip(chosen, parts, strict=True))
        return [found[tuple(w.ids), w.first] for w in windows]

    @torch.inference_mode()
    def _forward(self, windows: Sequence[Window]) -> list[list[float]]:
        """Returns the log-probabilities of each window's scored tokens."""
        input_ids, hidden = self._states([w.ids for w in windows])
        rows = [
            hidden[row, w.first - 1 : len(w.ids) - 1] for row, w in enumerate(windows)
        ]  # each (tokens, H): the state before a token predicts it
        targets = [input_ids[row, w.first : len(w.ids)] for row, w in enumerate(windows)]
        logprobs = self._gather(torch.cat(rows), torch.cat(targets))
        parts = torch.split_with_sizes(logprobs, [len(t) for t in targets])
        return [part.tolist() for part in parts]

    def _states(
        self, rows: Sequence[list[int]], prefix: PrefixStates | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the padded tokens (B, S) and the states (B, S, H) after each of them."""
        width, tokens = max(len(ids) for ids in rows), sum(len(ids) for ids in rows)
        self._work["forward_tokens"] += tokens
        self._work["padding_tokens"] += width * len(rows) - tokens
        # Whatever pads on the right is never attended to: causal attention needs no mask for it.
        padded = [ids + [0] * (width - len(ids)) for ids in rows]
        input_ids = torch.tensor(padded, device=self._device)
        if prefix is not None:
            return input_ids, prefix.continued(input_ids)
        hidden = self._model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        return input_ids, hidden

    def _groups(self, jobs: Sequence[_Job]) -> list[Group]:
        if self._shares:
            return group_prefixes([job.ids[: len(job.ids) - job.head_tokens] for job in jobs])
        return [Group(0, [*range(len(jobs))])]

    @torch.inference_mode()
    def _weigh_group(self, prefix_tokens: int, jobs: Sequence[_Job]) -> list[Choice]:
        """Weighs alternatives after prompts of which the first tokens are the same."""
        prefix = None
        if prefix_tokens:
            ids = torch.tensor([jobs[0].ids[:prefix_tokens]], device=self._device)
            prefix = PrefixStates(self._model.base_model, ids)
            self._work["forward_tokens"] += prefix_tokens
        rests = [len(job.ids) - prefix_tokens for job in jobs]
        # The keys and values of the beginning are laid out again for each text of a batch.
        most = max(1, self._config.batch_tokens // (prefix_tokens + max(rests, default=0) + 1))
        found: dict[int, Choice] = {}
        for batch in batches(rests, self._batch_tokens, spare_padding=True):
            for start in range(0, len(batch), most if prefix_tokens else len(batch)):
                part = batch[start : start + most] if prefix_tokens else batch
                weighed = self._weigh([jobs[n] for n in part], prefix, prefix_tokens)
                found |= zip(part, weighed, strict=True)
        return [found[n] for n in range(len(jobs))]

    def _weigh(
        self, jobs: Sequence[_Job], prefix: PrefixStates | None, prefix_tokens: int
    ) -> list[Choice]:
        """Returns the log-probabilities of each job's tokens after its prompt."""
        _, hidden = self._states([job.ids[prefix_tokens:] for job in jobs], prefix)
        rows: list[int] = []
        places: list[int] = []
        targets: list[int] = []
        for row, job in enumerate(jobs):
            end = len(job.ids) - prefix_tokens
            heads = range(end - job.head_tokens, end)
            rows += [row] * (len(heads) + len(job.tokens))
            # The state before a token predicts it; all alternatives follow the last one.
            places += [*(place - 1 for place in heads), *[end - 1] * len(job.tokens)]
            targets += [*job.ids[len(job.ids) - len(heads) :], *job.tokens]
        logprobs = self._gather(
            hidden[rows, places], torch.tensor(targets, device=self._device)
        ).tolist()
        choices: list[Choice] = []
        for job in jobs:
            common = sum(logprobs[: job.head_tokens])
            end = job.head_tokens + len(job.tokens)
            choices.append(Choice(tuple(common + x for x in logprobs[job.head_tokens : end])))
            del logprobs[:end]
        return choices

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
        prompts: list[Prompt] = []
        for number, request in enumerate(requests):
            try:
                prompts.append(self._prompt(number, request))
            except (BadTurnsError, UnicodeError, TypeError, RuntimeError) as error:
                answers[number] = Generation("", "error", error=str(error))
        for group in alike(prompts):
            lengths = [len(p.ids) + p.max_new_tokens for p in group]
            for batch in batches(lengths, self._config.batch_tokens):
                chosen = [group[n] for n in batch]
                for prompt, answer in zip(chosen, self._generate(chosen), strict=True):
                    answers[prompt.request] = answer
        return [a for a in answers if a is not None]

    def _prompt(self, number: int, request: GenerateRequest) -> Prompt:
        ids = generate_ids(self._tokenizer, request)
        room = self._limit - len(ids)
        if room < 1:
            raise BadTurnsError(f"prompt of {len(ids)} tokens; the context holds {self._limit}")
        new = min(room, request.max_tokens or self._config.sampling.max_tokens)
        grammar = None if request.schema is None else self._compile(request.schema)
        return Prompt(number, ids, new, grammar, request.seed, request.stop)

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        pad, stops = self._pad_id(), self._stop_ids()
        width = max(len(p.ids) for p in prompts)
        # Padding on the left: every row's next token stands at the same position.
        ids = [[pad] * (width - len(p.ids)) + p.ids for p in prompts]
        mask = [[0] * (width - len(p.ids)) + [1] * len(p.ids) for p in prompts]
        stop_at = StopAt(self._tokenizer, prompts, width)
        processors: list[Any] = []
        if prompts[0].grammar is not None:
            xgrammar_hf = xgrammar_module("xgrammar.contrib.hf")
            processors.append(xgrammar_hf.LogitsProcessor([p.grammar for p in prompts]))
        if self._config.sampling.temperature > 0:
            processors.append(Sampler(self._config.sampling, [p.seed for p in prompts]))
        output = self._model.generate(
            input_ids=torch.tensor(ids, device=self._device),
            attention_mask=torch.tensor(mask, device=self._device),
            max_new_tokens=prompts[0].max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=stops,
            pad_token_id=pad,
            logits_processor=processors,
            stopping_criteria=[stop_at] if prompts[0].stop else [],
        )
        return [
            self._answer(prompt, output[row, width:].tolist(), stops, stop_at.ended.get(row))
            for row, prompt in enumerate(prompts)
        ]

    def _answer(
        self, prompt: Prompt, new: list[int], stops: list[int], ended: int | None
    ) -> Generation:
        new = new[:ended]
        end = next((n for n, token in enumerate(new) if token in stops), None)
        text = self._tokenizer.decode(new[:end], skip_special_tokens=True)
        return Generation(
            text=before_stop(text, prompt.stop),
            finish_reason="length" if end is None and ended is None else "stop",
            prompt_tokens=len(prompt.ids),
            completion_tokens=len(new) if end is None else end + 1,
        )

    def _stop_ids(self) -> list[int]:
        given = self._model.generation_config.eos_token_id
        stops = set(given if isinstance(given, list) else [given])
        stops |= {self._tokenizer.eos_token_id, control_id(self._tokenizer, "<|eot_id|>")}
        return sorted(s for s in stops if s is not None)

    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(self._stop_ids()[0] if pad is None else pad)

    def _compile(self, schema: dict[str, Any]) -> Any:
        """Compiles a JSON Schema; raises RuntimeError for one that is not valid."""
        if self._grammars is None:
            xgrammar = xgrammar_module("xgrammar")
            info = xgrammar.TokenizerInfo.from_huggingface(
                self._tokenizer,
                vocab_size=self._model.config.vocab_size,
                stop_token_ids=self._stop_ids(),
            )
            self._grammars = xgrammar.GrammarCompiler(info)
        # Free white space would let a weak model fill its budget with blanks.
        return self._grammars.compile_json_schema(schema, any_whitespace=False)


__all__ = ["TransformersEngine"]
