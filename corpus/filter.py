"""Documents rebuilt without the paragraphs above the perplexity threshold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from core.paragraphs import Span
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import cut, with_text
from corpus.threshold import Thresholds, read_thresholds


@dataclass
class Filtered:
    """A shard's documents after the cut.

    Args:
        documents: those that have text left.
        rejects: the cut paragraphs.
        paragraphs: how many there were.
        tokens_cut: tokens of the cut ones.
        emptied: documents that lost all of theirs.
    """

    documents: pa.Table
    rejects: list[Reject] = field(default_factory=list)
    paragraphs: int = 0
    tokens_cut: int = 0
    emptied: int = 0


def cut_paragraphs(documents: pa.Table, scores: pa.Table, limits: Thresholds) -> Filtered:
    """Rebuilds a shard's documents from the paragraphs at or below their source's threshold.

    What is left stands as it stood, with the wider of the two gaps around a cut, so that
    paragraphs do not run together and none loses its indentation.
    """
    by_doc: dict[str, list[dict[str, Any]]] = {}
    for row in scores.to_pylist():
        by_doc.setdefault(row["doc_id"], []).append(row)
    keep, texts, pages = [], [], []
    result = Filtered(documents, paragraphs=scores.num_rows)
    columns = ["doc_id", "source", "text", "pages"]
    for number, doc in enumerate(documents.select(columns).to_pylist()):
        rows = by_doc.get(doc["doc_id"], [])
        limit = limits.of(doc["source"])
        bad = [r["perplexity"] is not None and r["perplexity"] > limit for r in rows]
        for row in (row for row, gone in zip(rows, bad, strict=True) if gone):
            detail = f"paragraph {row['paragraph']}: {row['perplexity']:.4g} > {limit:.4g}"
            cut_text = doc["text"][row["start_char"] : row["end_char"]]
            result.rejects.append(Reject(doc["doc_id"], Reason.HIGH_PERPLEXITY, detail, cut_text))
            result.tokens_cut += row["tokens"]
        if rows and all(bad):
            result.emptied += 1
            continue
        spans = [(row["start_char"], row["end_char"]) for row in rows]
        text, left = cut(doc["text"], doc["pages"], _holes(doc["text"], spans, bad))
        stripped = text.rstrip() if any(bad) else text
        if left is not None:
            end = len(stripped)
            left = [
                {**s, "start_char": min(s["start_char"], end), "end_char": min(s["end_char"], end)}
                for s in left
            ]
        keep.append(number)
        texts.append(stripped)
        pages.append(left)
    result.documents = with_text(documents, keep, texts, pages)
    return result


def _holes(text: str, spans: list[Span], bad: list[bool]) -> list[Span]:
    """Returns what to take out: each run of cut paragraphs with the narrower gap beside it."""
    holes: list[Span] = []
    first = 0
    while first < len(spans):
        if not bad[first]:
            first += 1
            continue
        after = first
        while after < len(spans) and bad[after]:
            after += 1
        start, end = spans[first][0], spans[after - 1][1]
        following = spans[after][0] if after < len(spans) else len(text)
        before = spans[first - 1][1] if first else start
        wider_after = text.count("\n", end, following) > text.count("\n", before, start)
        if first and after < len(spans) and wider_after:
            holes.append((before, end))
        else:
            holes.append((start, following))
        first = after
    return holes


class FilterStage(ShardStage):
    """Documents without their worst paragraphs."""

    name = "corpus.filter"
    description = "Documents rebuilt from the paragraphs at or below the perplexity threshold."
    code_version = 2
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
        limits = read_thresholds(ctx.folder(self._threshold_stage))
        result = cut_paragraphs(documents, scores, limits)
        return ShardResult(
            result.documents,
            result.rejects,
            rows_in=result.paragraphs,
            rows_out=result.paragraphs - len(result.rejects),
            metrics={
                "documents": result.documents.num_rows,
                "documents_emptied": result.emptied,
                "tokens_cut": result.tokens_cut,
                "chars_cut": sum(len(reject.text or "") for reject in result.rejects),
            },
        )
