"""Paragraph perplexity: scores beside the documents.

AstroMLab 3, section II.3: the corpus is split into paragraphs, each gets exp(-mean log P) under a
language model, the worst 2% are cut, and documents are rebuilt from the rest. Three stages, so that
the threshold moves without scoring again::

    documents -> scores (here) -> threshold -> documents without the cut paragraphs
                                  (corpus/threshold.py)  (corpus/filter.py)

What is scored is the paragraph's own characters, ``text[start_char:end_char]``, alone: its first
token is conditioned on the beginning-of-text token only. How a paragraph that is longer than the
model's window is read is told in :mod:`core.llm.local`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.llm import Engine, ScoreRequest, open_engine
from core.llm.stage import engine_resources
from core.paragraphs import split_paragraphs
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.schema import PARAGRAPH_SCORE
from core.stage import STAGE_PREFIXES, ShardResult, ShardStage, StageContext, Unit

LOG_MAX = 709.0
"""The largest mean surprise told apart, nats: exp of 710 overflows a float64."""

_CALL_CHARS = 8_000_000
"""Characters handed to the engine at once: many, so that it finds paragraphs of equal length, but
their tokens take 100 MB at most."""


def score_paragraphs(
    table: pa.Table, engine: Engine, min_tokens: int
) -> tuple[pa.Table, dict[str, int]]:
    """Scores every paragraph of a shard's documents.

    Args:
        table: documents.
        engine: scores them.
        min_tokens: paragraphs with fewer tokens get no perplexity.

    Returns:
        Rows of :data:`core.schema.PARAGRAPH_SCORE`; ``perplexity`` is null where a paragraph is too
        short or could not be scored. And counts of those, of tokens, and of the engine's work.
    """
    before = engine.work()
    rows: list[dict[str, Any]] = []
    counts = {"paragraphs_short": 0, "paragraphs_failed": 0}
    for group in _groups(table):
        requests = [ScoreRequest(text) for _, text in group]
        for (row, _), score in zip(group, engine.score(requests), strict=True):
            row["tokens"] = len(score.logprobs)
            # A broken model gives NaN, which no threshold can be compared with.
            if score.error is not None or math.isnan(score.total):
                counts["paragraphs_failed"] += 1
            elif len(score.logprobs) < min_tokens:
                counts["paragraphs_short"] += 1
            else:
                row["perplexity"] = perplexity(score.logprobs)
            rows.append(row)
    counts["paragraphs"] = len(rows)
    counts["tokens"] = sum(row["tokens"] for row in rows)
    counts |= {name: count - before[name] for name, count in engine.work().items()}
    return pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE), counts


def perplexity(logprobs: Sequence[float]) -> float:
    """Returns exp(-mean log P) of at least one token, at most exp(709)."""
    # The exact sum: the mean of a long paragraph does not depend on how it was added up.
    return math.exp(min(-math.fsum(logprobs) / len(logprobs), LOG_MAX))


def _groups(table: pa.Table) -> Iterator[list[tuple[dict[str, Any], str]]]:
    """Yields the paragraphs of whole documents, as unscored rows with their texts."""
    group: list[tuple[dict[str, Any], str]] = []
    chars = 0
    for batch in table.select(["doc_id", "text"]).to_batches(max_chunksize=256):
        for doc in batch.to_pylist():
            text = doc["text"] or ""
            for number, (start, end) in enumerate(split_paragraphs(text)):
                place = {"paragraph": number, "start_char": start, "end_char": end}
                group.append(({"doc_id": doc["doc_id"], **place}, text[start:end]))
            chars += len(text)
            if chars >= _CALL_CHARS:
                yield group
                group, chars = [], 0
    if group:
        yield group


class PerplexityScoreStage(ShardStage):
    """Scores beside the documents."""

    name = "corpus.perplexity_score"
    description = "Perplexity of every paragraph under a causal language model."
    code_version = 2
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
        self.resources = engine_resources(engine)

    def config(self) -> dict[str, Any]:
        """Returns the engine and the shortest scored paragraph."""
        return {
            "engine": self._engine_config.identity(),
            "min_tokens": self._min_tokens,
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of a scoring model of the user's own."""
        model = self._engine_config.model
        if self._engine_config.kind == "kenlm" and model:
            return [ctx.path(model)] if ctx.path(model).is_file() else []
        return ctx.model_files(model)

    def setup(self, ctx: StageContext) -> None:
        """Loads the scoring model."""
        path = ctx.model_path(self._engine_config.model or "")
        self._engine = open_engine(self._engine_config, path)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Scores one shard."""
        (table,) = self.read(unit, ctx)
        assert self._engine is not None, "setup comes first"
        scores, counts = score_paragraphs(table, self._engine, self._min_tokens)
        rows = table.num_rows
        return ShardResult(scores, rows_in=rows, rows_out=rows, metrics=dict(counts))
