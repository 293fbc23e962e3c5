"""Decontaminate: training text without what benchmarks ask.

AstroMLab 3 and 4 measure on questions drawn from published reviews; a question that was trained on
measures memory. Three steps, so that another action needs no second search:

* ``corpus.contamination`` finds the overlaps of every document (:mod:`core.contamination`);
* ``corpus.contamination_report`` counts them per benchmark and item, for the card and for scores;
* ``corpus.decontaminate`` cuts the paragraphs that hold them, or drops the document.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.atomic import write_json
from core.contamination import ContaminationIndex
from core.contamination_files import (
    REPORT_NAME,
    contamination_report,
    load_index,
    read_items,
)
from core.overlap import Rules
from core.paragraphs import split_paragraphs
from core.recipe.decontaminate import Decontaminate
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.shards import stream_batches
from core.stage import JobResult, JobStage, ShardResult, ShardStage, StageContext, Unit
from corpus.documents import with_text
from corpus.paragraph_cuts import cut_paragraphs

OVERLAP = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        ("row", pa.int32()),
        ("start_char", pa.int64()),
        ("end_char", pa.int64()),
        ("benchmark", pa.string()),
        ("item_id", pa.string()),
        ("words", pa.int32()),
        ("part", pa.string()),
        ("text", pa.string()),
    ]
)
"""A passage of a document that overlaps with a benchmark's item; ``row`` is the document's number
in its shard, the rest as in :class:`core.contamination.Match`.
"""

_SHOWN_CHARS = 200
_SHOWN_ITEMS = 5


def find_overlaps(documents: pa.Table, index: ContaminationIndex) -> pa.Table:
    """Returns the rows of :data:`OVERLAP` of a shard of documents, in their order."""
    rows = []
    for number, doc in enumerate(documents.select(["doc_id", "text"]).to_pylist()):
        for match in index.find(doc["text"] or ""):
            rows.append({"doc_id": doc["doc_id"], "row": number, **vars(match)})
    return pa.Table.from_pylist(rows, schema=OVERLAP)


def rules_of(section: Decontaminate) -> Rules:
    """Returns what the recipe counts as an overlap."""
    return Rules(
        ngram_words=section.ngram_words,
        min_words=section.min_words,
        choices=section.choices,
        max_gap_chars=section.max_gap_chars,
    )


class _BenchmarkStage:
    """What the steps that read benchmark files share."""

    _files: dict[str, str]

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files."""
        return [ctx.path(path) for path in self._files.values()]


class ContaminationStage(_BenchmarkStage, ShardStage):
    """Overlaps of documents with benchmarks."""

    name = "corpus.contamination"
    code_version = 2
    description = "Passages that overlap with benchmark questions."
    schema = OVERLAP
    reconcile = "Counts documents; nothing is cut here. Rows are passages."

    def __init__(self, section: Decontaminate, documents: str, files: dict[str, str]) -> None:
        """Args: the section, the documents' stage, and all benchmarks, name to path."""
        self.inputs = self.aligned = (documents,)
        self._files = files
        self._rules = rules_of(section)

    def config(self) -> dict[str, Any]:
        """Returns the benchmarks and what counts as an overlap."""
        return {"benchmarks": self._files, **vars(self._rules)}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Looks through one shard."""
        (documents,) = self.read(unit, ctx)
        overlaps = find_overlaps(documents, load_index(ctx.root, self._files, self._rules))
        return ShardResult(
            overlaps,
            rows_in=documents.num_rows,
            rows_out=documents.num_rows,
            metrics={
                "passages": overlaps.num_rows,
                "documents_hit": len(set(overlaps["row"].to_pylist())),
            },
        )


class ContaminationReportStage(_BenchmarkStage, JobStage):
    """Which items of which benchmark the documents held."""

    name = "corpus.contamination_report"
    description = "Per benchmark and item: which documents held it before they were cleaned."
    row_unit = "item"
    reconcile = "Counts the benchmarks' items; nothing is cut here."

    def __init__(self, overlaps: str, files: dict[str, str]) -> None:
        self.inputs = (overlaps,)
        self._files = files

    def config(self) -> dict[str, Any]:
        """Returns the benchmarks."""
        return {"benchmarks": self._files}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes ``report.json``."""
        overlaps = [
            row for batch in stream_batches(ctx.folder(self.inputs[0])) for row in batch.to_pylist()
        ]
        result = contamination_report(read_items(ctx.root, self._files), overlaps)
        write_json(out / REPORT_NAME, result)
        metrics = {
            f"{name}_{key}": entry[key]
            for name, entry in result["benchmarks"].items()
            for key in ("items", "items_found", "documents")
        }
        items = sum(entry["items"] for entry in result["benchmarks"].values())
        return JobResult(rows_in=items, rows_out=items, metrics=metrics)


def clean_documents(
    documents: pa.Table, overlaps: pa.Table, section: Decontaminate
) -> tuple[pa.Table, list[Reject], int]:
    """Takes the overlaps out of a shard's documents.

    Returns:
        The documents that stay, the rejects (cut paragraphs and dropped documents), and how many
        documents were dropped.
    """
    by_row: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for overlap in overlaps.to_pylist():
        by_row[overlap["row"]].append(overlap)
    rejects: list[Reject] = []
    keep, texts, pages = [], [], []
    for number, doc in enumerate(documents.select(["doc_id", "text", "pages"]).to_pylist()):
        text, spans = doc["text"], doc["pages"]
        if hits := by_row.get(number):
            cuts = _cuts(text, hits)
            items = {(hit["benchmark"], hit["item_id"]) for hit in hits}
            drop = section.action == "drop" or len(items) >= section.drop_items
            paragraphs = split_paragraphs(text)
            if drop or len(cuts) == len(paragraphs):
                rejects.append(Reject(doc["doc_id"], Reason.CONTAMINATED, _detail(hits), text))
                continue
            for at, held in sorted(cuts.items()):
                start, end = paragraphs[at]
                detail = f"paragraph {at}: {_detail(held)}"
                rejects.append(Reject(doc["doc_id"], Reason.CONTAMINATED, detail, text[start:end]))
            text, spans = cut_paragraphs(text, spans, paragraphs, cuts)
        keep.append(number)
        texts.append(text)
        pages.append(spans)
    return with_text(documents, keep, texts, pages), rejects, documents.num_rows - len(keep)


def _cuts(text: str, hits: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Returns the numbers of the paragraphs that hold an overlap, each with its overlaps."""
    paragraphs = split_paragraphs(text)
    starts = [start for start, _ in paragraphs]
    ends = [end for _, end in paragraphs]
    cuts: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for hit in hits:
        first = bisect_right(ends, hit["start_char"])
        for number in range(first, bisect_left(starts, hit["end_char"])):
            cuts[number].append(hit)
    return cuts


def _detail(hits: Sequence[dict[str, Any]]) -> str:
    """Names the items with the words that are there, the longest overlaps first."""
    longest: dict[tuple[str, str], dict[str, Any]] = {}
    for hit in sorted(hits, key=lambda h: (-h["words"], h["benchmark"], h["item_id"])):
        longest.setdefault((hit["benchmark"], hit["item_id"]), hit)
    parts = [
        f"{benchmark} {item_id}: {hit['words']} words of the {hit['part']}: "
        f'"{" ".join(hit["text"].split())[:_SHOWN_CHARS]}"'
        for (benchmark, item_id), hit in list(longest.items())[:_SHOWN_ITEMS]
    ]
    more = len(longest) - len(parts)
    return "; ".join(parts) + (f"; and {more} more items" if more else "")


class DecontaminateStage(ShardStage):
    """Documents without what benchmarks ask."""

    name = "corpus.decontaminate"
    description = "Documents without the paragraphs that overlap with benchmark questions."
    schema = DOCUMENT
    reconcile = "Counts documents; a cut paragraph is a reject of a document that stays."

    def __init__(self, section: Decontaminate, documents: str, overlaps: str) -> None:
        self.inputs = self.aligned = (documents, overlaps)
        self._section = section

    def config(self) -> dict[str, Any]:
        """Returns what is done with overlaps."""
        return self._section.model_dump(mode="json", include={"action", "drop_items"})

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Cleans one shard."""
        documents, overlaps = self.read(unit, ctx)
        kept, rejects, dropped = clean_documents(documents, overlaps, self._section)
        return ShardResult(
            kept,
            rejects,
            rows_in=documents.num_rows,
            rows_rejected=dropped,
            metrics={"paragraphs_cut": len(rejects) - dropped, "documents_dropped": dropped},
        )
