"""Repetition: documents without the loops that OCR models fall into.

AstroMLab 4, section 2.1: "some rule-based repetition removal to correct OCR failures". The first
copy of what repeats stays; every cut is a reject row with its span, so nothing is lost unseen.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from core.recipe.repetition import Repetition
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import cut, with_text
from corpus.repetition.cuts import find_cuts


def cut_loops(
    documents: pa.Table, settings: Repetition
) -> tuple[pa.Table, list[Reject], dict[str, int]]:
    """Cuts the loops out of a shard's documents.

    Returns:
        The documents that have text left, a reject per cut and per document lost, and counts.
    """
    keep, texts, pages = [], [], []
    rejects: list[Reject] = []
    counts = {"documents_cut": 0, "documents_lost": 0, "cuts": 0, "characters_cut": 0}
    for number, doc in enumerate(documents.select(["doc_id", "text", "pages"]).to_pylist()):
        text, spans = doc["text"], doc["pages"]
        cuts = find_cuts(text, settings)
        for found in cuts:
            cut_text = doc["text"][found.start : found.end]
            rejects.append(Reject(doc["doc_id"], Reason.REPETITION, found.detail, cut_text))
        if cuts:
            holes = [(found.start, found.end) for found in cuts]
            text, spans = cut(text, spans, holes)
            counts["documents_cut"] += 1
            counts["cuts"] += len(cuts)
            counts["characters_cut"] += len(doc["text"]) - len(text)
            if len(text.strip()) < settings.min_chars:
                counts["documents_lost"] += 1
                detail = f"{len(text)} characters left of {len(doc['text'])}"
                rejects.append(Reject(doc["doc_id"], Reason.REPETITION, detail, text))
                continue
        keep.append(number)
        texts.append(text)
        pages.append(spans)
    return with_text(documents, keep, texts, pages), rejects, counts


class RepetitionStage(ShardStage):
    """Documents without loops."""

    name = "corpus.repetition"
    description = "Documents without the loops that OCR models fall into."
    schema = DOCUMENT
    reconcile = (
        "Counts documents: in = kept + lost. Rejects also hold every cut; its document stays."
    )

    def __init__(self, repetition: Repetition, documents: str) -> None:
        self.inputs = self.aligned = (documents,)
        self._repetition = repetition

    def config(self) -> dict[str, Any]:
        """Returns the section ``corpus.repetition``."""
        return self._repetition.model_dump(mode="json")

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Cuts the loops out of one shard."""
        (table,) = self.read(unit, ctx)
        kept, rejects, counts = cut_loops(table, self._repetition)
        return ShardResult(
            kept,
            rejects,
            rows_in=table.num_rows,
            rows_rejected=counts["documents_lost"],
            metrics={**counts},
        )
