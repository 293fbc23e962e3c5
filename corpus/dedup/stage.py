"""Dedup, step 3 (map): the documents that stay, without paragraphs that another one keeps."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from core.paragraphs import split_paragraphs
from core.recipe.dedup import Dedup
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.shards import read_shard
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.dedup.clusters import REMOVED, REPEATS
from corpus.dedup.signatures import long_paragraphs
from corpus.documents import with_text
from corpus.paragraph_cuts import cut_paragraphs


def mask_documents(
    documents: pa.Table, removed: pa.Table, repeats: pa.Table | None, min_chars: int
) -> tuple[pa.Table, list[Reject], int]:
    """Takes duplicates out of a shard.

    Args:
        documents: the shard.
        removed: its rows of :data:`corpus.dedup.clusters.REMOVED_ROW`.
        repeats: its rows of :data:`corpus.dedup.clusters.REPEAT_ROW`, if paragraphs are cut.
        min_chars: shorter paragraphs were not counted.

    Returns:
        The documents that stay, the rejects, and how many documents left.
    """
    gone = {row["row"]: row for row in removed.to_pylist()}
    cuts: dict[int, dict[int, str]] = {}
    for row in repeats.to_pylist() if repeats is not None else []:
        cuts.setdefault(row["row"], {})[row["paragraph"]] = row["survivor"]
    rejects: list[Reject] = []
    keep, texts, pages = [], [], []
    for number, doc in enumerate(documents.select(["doc_id", "text", "pages"]).to_pylist()):
        if number in gone:
            rejects.append(_document_reject(doc, gone[number]))
            continue
        text, spans = doc["text"], doc["pages"]
        if number in cuts:
            text, spans, cut = _without_repeats(doc, cuts[number], min_chars)
            rejects += cut
        if number in cuts and not text:
            detail = "every paragraph stands in another document"
            rejects.append(Reject(doc["doc_id"], Reason.EMPTY_TEXT, detail))
            continue
        keep.append(number)
        texts.append(text)
        pages.append(spans)
    left = documents.num_rows - len(keep)
    return with_text(documents, keep, texts, pages), rejects, left


def _document_reject(doc: dict[str, Any], removed: dict[str, Any]) -> Reject:
    exact = removed["relation"] == "exact"
    reason = Reason.EXACT_DUPLICATE if exact else Reason.NEAR_DUPLICATE
    how = "same text as" if exact else f"similarity {removed['similarity']:.2f} to"
    return Reject(doc["doc_id"], reason, f"{how} {removed['survivor']}", doc["text"])


def _without_repeats(
    doc: dict[str, Any], repeats: dict[int, str], min_chars: int
) -> tuple[str, list[dict[str, Any]] | None, list[Reject]]:
    """Returns the text, page spans and rejects; ``repeats`` numbers the long paragraphs."""
    paragraphs = split_paragraphs(doc["text"])
    numbers = {span: number for number, span in enumerate(paragraphs)}
    long = long_paragraphs(doc["text"], min_chars)
    rejects = []
    for place, survivor in sorted(repeats.items()):
        start, end = long[place]
        where = "an earlier place of this document" if survivor == doc["doc_id"] else survivor
        detail = f"paragraph {numbers[long[place]]}: stands in {where}"
        rejects.append(
            Reject(doc["doc_id"], Reason.DUPLICATE_PARAGRAPH, detail, doc["text"][start:end])
        )
    cut = [numbers[long[place]] for place in repeats]
    text, spans = cut_paragraphs(doc["text"], doc["pages"], paragraphs, cut)
    return text, spans, rejects


class DedupStage(ShardStage):
    """Documents without duplicates."""

    name = "corpus.dedup"
    description = "Documents without equal and near-equal ones, and without repeated paragraphs."
    schema = DOCUMENT
    reconcile = "Counts documents; a cut paragraph is a reject of a document that stays."

    def __init__(self, dedup: Dedup, documents: str, clusters: str) -> None:
        self.inputs = (documents, clusters)
        self.aligned = (documents,)
        self._clusters = clusters
        self._paragraphs = dedup.paragraphs

    def config(self) -> dict[str, Any]:
        """Returns which paragraphs were counted; all else is in the clusters."""
        section = self._paragraphs
        return {"paragraphs": section.model_dump(mode="json") if section else None}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Masks one shard."""
        (documents,) = self.read(unit, ctx)
        folder, name = ctx.folder(self._clusters), unit.payload["shard"]
        removed = read_shard(folder / REMOVED / name)
        repeats, min_chars = None, 0
        if self._paragraphs is not None:
            repeats = read_shard(folder / REPEATS / name)
            min_chars = self._paragraphs.min_chars
        kept, rejects, left = mask_documents(documents, removed, repeats, min_chars)
        cut = sum(reject.reason == Reason.DUPLICATE_PARAGRAPH for reject in rejects)
        return ShardResult(
            kept,
            rejects,
            rows_in=documents.num_rows,
            rows_rejected=left,
            metrics={"paragraphs_cut": cut},
        )
