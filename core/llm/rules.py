"""Engine ``rules``: questions by pattern, no language model.

Why: the demo and the tests run everywhere, at once and always with the same result. The label says
plainly what wrote the pairs, so that nobody takes them for a model's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from core.errors import EngineError
from core.llm.engine import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.llm.rules_judge import answer_judgement
from core.llm.rules_qa import make_pairs
from core.llm.rules_questions import answer_question
from core.llm.rules_summary import answer_summary

LABEL = "rules (no language model)"


class RulesEngine(Engine):
    """Answers a few tasks from ``inputs``.

    ``qa``: ``title``, ``passage`` and ``pairs`` (at most). ``judge``: ``question``, ``answer`` and
    ``passage``, if there is one. ``summary``: see :mod:`core.llm.rules_summary`.
    ``clean_question``: ``question``.
    """

    label = LABEL

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answers with JSON, in the form of the task's schema.

        Raises:
            EngineError: a task that it does not know.
        """
        return [self._answer(request) for request in requests]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores nothing: every answer is an error."""
        return [Score((), error=f"the engine '{LABEL}' has no model to score with")] * len(requests)

    def _answer(self, request: GenerateRequest) -> Generation:
        task = _TASKS.get(request.task)
        if task is None:
            raise EngineError(
                f"the engine '{LABEL}' cannot do the task '{request.task}'",
                where="engine kind 'rules'",
                remedy="use the engine kind 'transformers', 'vllm' or 'openai'",
            )
        return task(request)


def _answer_qa(request: GenerateRequest) -> Generation:
    """Answers with JSON: ``{"pairs": [{"question": ..., "answer": ...}, ...]}``."""
    try:
        passage, limit = request.inputs["passage"], int(request.inputs["pairs"])
    except (KeyError, ValueError) as error:
        return Generation("", "error", error=f"bad inputs: {error!r}")
    pairs = make_pairs(passage, limit, request.seed)
    value = {"pairs": [{"question": p.question, "answer": p.answer} for p in pairs]}
    return Generation(json.dumps(value, ensure_ascii=False), "stop")


_TASKS: Mapping[str, Callable[[GenerateRequest], Generation]] = {
    "qa": _answer_qa,
    "judge": answer_judgement,
    "summary": answer_summary,
    "clean_question": answer_question,
}
