"""Documents rebuilt without the paragraphs above the perplexity threshold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import cut, with_text
from corpus.threshold import read_threshold


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
        if paragraphs and len(holes) == len(paragraphs):
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
        limit = read_threshold(ctx.folder(self._threshold_stage))
        kept, rejects, paragraphs, emptied = cut_paragraphs(documents, scores, limit)
        return ShardResult(
            kept,
            rejects,
            rows_in=paragraphs,
            rows_out=paragraphs - len(rejects),
            metrics={"documents": kept.num_rows, "documents_emptied": emptied},
        )
