"""Paragraph perplexity: score, choose a threshold, rebuild documents from what is below it.

AstroMLab 3, section II.3: the corpus is split into paragraphs, each gets exp(-mean log P) under a
language model, the worst 2% are cut, and documents are rebuilt from the rest. Three stages, so that
the threshold moves without scoring again::

    documents -> scores (sidecar) -> threshold -> documents without the cut paragraphs
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.atomic import write_json
from core.llm import Engine, ScoreRequest, open_engine
from core.paragraphs import split_paragraphs
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.rejects import Reason, Reject
from core.schema import DOCUMENT, PARAGRAPH_SCORE
from core.shards import stream_batches
from core.stage import (
    STAGE_PREFIXES,
    JobResult,
    JobStage,
    ShardResult,
    ShardStage,
    StageContext,
    Unit,
)
from corpus.documents import cut, with_text

THRESHOLD_NAME = "threshold.json"

_BINS = 65_536
_LOG_MAX = 709.0
"""exp of 710 overflows a float64."""


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
            row["perplexity"] = math.exp(min(mean, _LOG_MAX))
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


def exact_threshold(
    chunks: Iterable[Iterable[npt.NDArray[np.float64]]], drop_quantile: float
) -> float | None:
    """Returns the perplexity above which the worst share of paragraphs lies, exactly.

    Cutting everything above it removes ``floor(drop_quantile * n)`` paragraphs (fewer where values
    tie). Memory does not grow with n: a first pass counts values in logarithmic bins, a second
    collects the one bin that holds the answer.

    Args:
        chunks: an iterable that gives the same stream of value arrays each of two times.
        drop_quantile: share to cut, 0 to below 1.

    Returns:
        The threshold, or None when there are no values.
    """
    first, second = chunks
    counts = np.zeros(_BINS, dtype=np.int64)
    for values in first:
        counts += np.bincount(_bin(values), minlength=_BINS)
    total = int(counts.sum())
    if total == 0:
        return None
    rank = total - math.floor(drop_quantile * total) - 1
    below = np.cumsum(counts)
    chosen = int(np.searchsorted(below, rank, side="right"))
    inside = [values[_bin(values) == chosen] for values in second]
    offset = rank - (int(below[chosen - 1]) if chosen else 0)
    return float(np.sort(np.concatenate(inside))[offset])


def _bin(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    scaled = np.log(np.maximum(values, 1.0)) * (_BINS / _LOG_MAX)
    return np.asarray(np.minimum(scaled.astype(np.int64), _BINS - 1))


class ThresholdStage(JobStage):
    """The line between kept and cut paragraphs."""

    name = "corpus.threshold"
    description = "The perplexity threshold, from the quantile or value in the recipe."
    row_unit = "paragraph"
    reconcile = "Counts scored paragraphs; nothing is cut here."

    def __init__(self, perplexity: Perplexity, scores: str) -> None:
        self.inputs = (scores,)
        self._drop_quantile = perplexity.drop_quantile
        self._max_perplexity = perplexity.max_perplexity

    def config(self) -> dict[str, Any]:
        """Returns the quantile and the fixed value."""
        return {"drop_quantile": self._drop_quantile, "max_perplexity": self._max_perplexity}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Reads all scores, writes ``threshold.json``."""
        folder = ctx.folder(self.inputs[0])
        threshold = self._max_perplexity
        if threshold is None:
            passes = (_values(folder), _values(folder))
            threshold = exact_threshold(passes, self._drop_quantile)
        scored = sum(len(v) for v in _values(folder))
        above = sum(int((v > threshold).sum()) for v in _values(folder)) if threshold else 0
        metrics = {"threshold": threshold, "paragraphs_scored": scored, "paragraphs_above": above}
        write_json(out / THRESHOLD_NAME, metrics)
        return JobResult(rows_in=scored, rows_out=scored, metrics=metrics)


def _values(folder: Path) -> Iterator[npt.NDArray[np.float64]]:
    for batch in stream_batches(folder, ["perplexity"], batch_rows=65_536):
        yield batch.column(0).drop_null().to_numpy(zero_copy_only=False)


def cut_paragraphs(
    documents: pa.Table, scores: pa.Table, threshold: float
) -> tuple[pa.Table, list[Reject], int, int]:
    """Rebuilds a shard's documents from the paragraphs at or below the threshold.

    Returns:
        The documents that have text left, the cut paragraphs, how many paragraphs there were, and
        how many documents lost all of theirs.
    """
    by_doc: dict[str, list[dict[str, Any]]] = {}
    for row in scores.to_pylist():
        by_doc.setdefault(row["doc_id"], []).append(row)
    keep, texts, pages = [], [], []
    rejects: list[Reject] = []
    emptied = 0
    for number, doc in enumerate(documents.select(["doc_id", "text", "pages"]).to_pylist()):
        paragraphs = by_doc.get(doc["doc_id"], [])
        holes = []
        for at, row in enumerate(paragraphs):
            if row["perplexity"] is not None and row["perplexity"] > threshold:
                last = at + 1 == len(paragraphs)
                end = len(doc["text"]) if last else paragraphs[at + 1]["start_char"]
                holes.append((row["start_char"], end))
                detail = f"paragraph {row['paragraph']}: {row['perplexity']:.4g} > {threshold:.4g}"
                cut_text = doc["text"][row["start_char"] : row["end_char"]]
                rejects.append(Reject(doc["doc_id"], Reason.HIGH_PERPLEXITY, detail, cut_text))
        text, spans = cut(doc["text"], doc["pages"], holes)
        if len(holes) == len(paragraphs):
            emptied += 1
            continue
        stripped = text.rstrip()
        if spans is not None:
            end = len(stripped)
            spans = [
                {**s, "start_char": min(s["start_char"], end), "end_char": min(s["end_char"], end)}
                for s in spans
            ]
        keep.append(number)
        texts.append(stripped)
        pages.append(spans)
    return with_text(documents, keep, texts, pages), rejects, scores.num_rows, emptied


class FilterStage(ShardStage):
    """Documents without their worst paragraphs."""

    name = "corpus.filter"
    description = "Documents rebuilt from the paragraphs at or below the perplexity threshold."
    row_unit = "paragraph"
    schema = DOCUMENT
    reconcile = "Counts paragraphs: in = kept in some document + cut. Rows are documents."

    def __init__(self, documents: str, scores: str, threshold: str) -> None:
        self.inputs = (documents, scores, threshold)
        self.aligned = (documents, scores)
        self._threshold_stage = threshold

    def config(self) -> dict[str, Any]:
        """Returns nothing: the threshold is an input."""
        return {}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Filters one shard."""
        documents, scores = self.read(unit, ctx)
        path = ctx.folder(self._threshold_stage) / THRESHOLD_NAME
        threshold = json.loads(path.read_text(encoding="utf-8"))["threshold"]
        limit = math.inf if threshold is None else threshold
        kept, rejects, paragraphs, emptied = cut_paragraphs(documents, scores, limit)
        return ShardResult(
            kept,
            rejects,
            rows_in=paragraphs,
            rows_out=paragraphs - len(rejects),
            metrics={"documents": kept.num_rows, "documents_emptied": emptied},
        )
