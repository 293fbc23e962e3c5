"""Paragraph perplexity: scores beside the documents.

AstroMLab 3, section II.3: the corpus is split into paragraphs, each gets exp(-mean log P) under a
language model, the worst 2% are cut, and documents are rebuilt from the rest. Three stages, so that
the threshold moves without scoring again::

    documents -> scores (here) -> threshold -> documents without the cut paragraphs
                                  (corpus/threshold.py)  (corpus/filter.py)
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.llm import Engine, ScoreRequest, open_engine
from core.paragraphs import split_paragraphs
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.schema import PARAGRAPH_SCORE
from core.stage import STAGE_PREFIXES, Resources, ShardResult, ShardStage, StageContext, Unit

LOG_MAX = 709.0
"""The largest mean surprise told apart, nats: exp of 710 overflows a float64."""


def score_paragraphs(table: pa.Table, engine: Engine, min_tokens: int) -> pa.Table:
    """Scores every paragraph of a shard's documents in one batch.

    Returns:
        Rows of :data:`core.schema.PARAGRAPH_SCORE`; ``perplexity`` is null where a paragraph has
        fewer than ``min_tokens`` tokens or could not be scored.
    """
    rows: list[dict[str, Any]] = []
    texts: list[str] = []
    for doc in table.select(["doc_id", "text"]).to_pylist():
        for number, (start, end) in enumerate(split_paragraphs(doc["text"])):
            rows.append(
                {"doc_id": doc["doc_id"], "paragraph": number, "start_char": start, "end_char": end}
            )
            texts.append(doc["text"][start:end])
    for row, score in zip(rows, engine.score([ScoreRequest(t) for t in texts]), strict=True):
        row["tokens"] = len(score.logprobs)
        # A broken model gives NaN, which no threshold can be compared with.
        if len(score.logprobs) >= min_tokens and not math.isnan(score.total):
            mean = -score.total / len(score.logprobs)
            row["perplexity"] = math.exp(min(mean, LOG_MAX))
    return pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE)


class PerplexityScoreStage(ShardStage):
    """Scores beside the documents."""

    name = "corpus.perplexity_score"
    description = "Perplexity of every paragraph under a causal language model."
    schema = PARAGRAPH_SCORE
    reconcile = "Each document gives one row per paragraph; documents are counted here."

    def __init__(self, perplexity: Perplexity, engine: EngineConfig, documents: str) -> None:
        self._min_tokens = perplexity.min_tokens
        self._engine_config = engine
        self._engine: Engine | None = None
        self.aligned = (documents,)
        model = engine.model or ""
        self.inputs = (documents, model) if model.startswith(STAGE_PREFIXES) else (documents,)
        self.actors = perplexity.workers
        self.resources = Resources(gpus=engine.gpus)

    def config(self) -> dict[str, Any]:
        """Returns the engine and the shortest scored paragraph."""
        return {
            "engine": self._engine_config.identity(),
            "min_tokens": self._min_tokens,
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of a scoring model of the user's own."""
        return ctx.model_files(self._engine_config.model)

    def setup(self, ctx: StageContext) -> None:
        """Loads the scoring model."""
        path = ctx.model_path(self._engine_config.model or "")
        self._engine = open_engine(self._engine_config, path)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Scores one shard."""
        (table,) = self.read(unit, ctx)
        assert self._engine is not None, "setup comes first"
        scores = score_paragraphs(table, self._engine, self._min_tokens)
        metrics = {"paragraphs": scores.num_rows, "tokens": int(sum(scores["tokens"].to_pylist()))}
        rows = table.num_rows
        return ShardResult(scores, rows_in=rows, rows_out=rows, metrics=metrics)
