"""Multiple-choice questions answered by log-probability: nothing is generated or parsed.

Two ways of asking (the AstroMLab benchmark's own papers read a letter out of generated text, which
needs a model that follows instructions):

* ``choice``: the log-likelihood of each answer's text after the question; what a small or plain
  model can do (Brown et al. 2020, section 2.4).
* ``letter``: the choices are listed and the likelihoods of their letters compared; the usual
  MMLU way (Hendrycks et al. 2021).

In ``choice`` mode longer answers are less likely whatever they say, so the sum is divided by the
number of tokens, or compared with the answer's likelihood without the question (PMI: Holtzman et
al. 2021, "Surface Form Competition").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from core.hashing import sha256_value
from core.llm import Engine, Score, ScoreRequest
from core.recipe.eval import Mcq
from core.rejects import Reason, Reject
from core.schema import PREDICTION
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from eval.items import Item, benchmark_file, letter, load_items
from eval.models import HeldEngine, model_digest, model_files, model_stages

ITEMS_PER_CALL = 256
"""Questions handed to the engine at once; it forms its own batches by tokens."""


def requests_for(item: Item, section: Mcq, chat: bool) -> list[ScoreRequest]:
    """Returns what is scored to answer one question.

    Args:
        item: the question.
        section: how to ask.
        chat: ask under the chat template.

    Returns:
        One request per choice; under ``unconditional`` as many again, for the same texts without
        the question.
    """
    if section.mode == "letter":
        listed = [f"{letter(i)}. {text}" for i, text in enumerate(item.choices)]
        question = "\n".join([item.question, *listed])
        texts = [letter(i) for i in range(len(item.choices))]
        asked = f"{question}\nAnswer with the letter only." if chat else question
        return [_request(asked, text, chat) for text in texts]
    requests = [_request(item.question, text, chat) for text in item.choices]
    if section.normalize == "unconditional":
        requests += [_request("", text, chat) for text in item.choices]
    return requests


def _request(question: str, text: str, chat: bool) -> ScoreRequest:
    if chat:
        return ScoreRequest(text, messages=({"role": "user", "content": question or "Answer:"},))
    prefix = f"Question: {question}\nAnswer:" if question else "Answer:"
    return ScoreRequest(f" {text}", prefix=prefix)


def choice_scores(scores: Sequence[Score], section: Mcq) -> list[float]:
    """Returns one comparable number (nats) per choice from the scores of :func:`requests_for`.

    Raises:
        ValueError: a text could not be scored; the message says why.
    """
    for score in scores:
        if score.error is not None:
            raise ValueError(score.error)
        if not score.logprobs or not math.isfinite(score.total):
            raise ValueError("the model gives no finite likelihood")
    if section.mode == "letter" or section.normalize == "none":
        return [s.total for s in scores]
    if section.normalize == "tokens":
        return [s.total / len(s.logprobs) for s in scores]
    half = len(scores) // 2
    return [a.total - b.total for a, b in zip(scores[:half], scores[half:], strict=True)]


def predict(
    items: Sequence[Item], engine: Engine, section: Mcq, model: str, benchmark: str
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Answers questions.

    Args:
        items: the questions.
        engine: the model.
        section: how to ask.
        model: its name in the tables; decides with ``section.chat_models`` how it is asked.
        benchmark: name for the rows.

    Returns:
        Rows of schema :data:`core.schema.PREDICTION`, and rejects of questions that the model
        could not score.
    """
    chat = model in section.chat_models
    asked = [requests_for(item, section, chat) for item in items]
    scores = iter(engine.score([request for requests in asked for request in requests]))
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for item, requests in zip(items, asked, strict=True):
        mine = [next(scores) for _ in requests]
        try:
            compared = choice_scores(mine, section)
        except ValueError as error:
            rejects.append(Reject(item.item_id, Reason.NOT_SCORED, str(error), item.question))
            continue
        # max() takes the first of equals, so a tie does not depend on anything.
        choice = max(range(len(compared)), key=compared.__getitem__)
        rows.append(
            {
                "item_id": item.item_id,
                "benchmark": benchmark,
                "model": model,
                "mode": section.mode,
                "permutation": 0,
                "order": list(range(len(item.choices))),
                "choice": choice,
                "correct": None if item.answer is None else choice == item.answer,
                "logprobs": compared,
                "raw_text": "",
                "read_by": None,
            }
        )
    return rows, rejects


class McqStage(ShardStage):
    """Answers every benchmark with every model; a unit of work is one of each."""

    name = "eval.mcq"
    description: ClassVar[str] = "Answer multiple-choice questions by log-probability"
    schema = PREDICTION
    row_unit = "question"
    actors = 1
    reconcile: ClassVar[str] = "every question is counted once per model"

    def __init__(self, section: Mcq, models: dict[str, str]) -> None:
        """Takes the recipe's parts.

        Args:
            section: benchmarks and how to ask.
            models: name in the tables to train or merge stage, or model folder.
        """
        self._section = section
        self._models = models
        self._held = HeldEngine()
        self.inputs = model_stages(models)

    def config(self) -> dict[str, Any]:
        """Returns the section (groups only matter to the scores) and the models."""
        section = self._section.model_dump(
            mode="json", exclude={"benchmarks": {"__all__": {"group"}}}
        )
        return {"mcq": section, "models": [list(pair) for pair in self._models.items()]}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files and those of models that are folders."""
        files = [benchmark_file(b, ctx) for b in self._section.benchmarks]
        return files + model_files(self._models, ctx)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per model and benchmark, model by model."""
        units: list[Unit] = []
        for model, reference in self._models.items():
            weights = model_digest(model, reference, ctx, sources)
            for benchmark in self._section.benchmarks:
                questions = sources.digest([benchmark_file(benchmark, ctx)])
                payload = {"model": model, "reference": reference, "benchmark": benchmark.name}
                digest = sha256_value([payload, questions, weights])
                units.append(Unit(len(units), payload, digest))
        return units

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Answers one benchmark with one model."""
        model, name = unit.payload["model"], unit.payload["benchmark"]
        benchmark = next(b for b in self._section.benchmarks if b.name == name)
        items, rejects = load_items(benchmark_file(benchmark, ctx))
        rows_in = len(items) + len(rejects)
        engine = self._held.open(ctx.model_path(unit.payload["reference"]))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(items), ITEMS_PER_CALL):
            batch = items[start : start + ITEMS_PER_CALL]
            answered, unscored = predict(batch, engine, self._section, model, name)
            rows += answered
            rejects += unscored
        keyed = [row["correct"] for row in rows if row["correct"] is not None]
        return ShardResult(
            kept=pa.Table.from_pylist(rows, schema=PREDICTION),
            rejected=rejects,
            rows_in=rows_in,
            metrics={"scored": len(keyed), "correct": sum(keyed)},
        )
