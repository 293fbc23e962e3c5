"""Ingest: catalog entries become documents.

PDFs and page images come out without text, naming their file; OCR reads it. Everything else is read
here. What cannot be read - and each chapter, each article that cannot - is a reject with a reason.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from core.hashing import sha256_value
from core.recipe.corpus import Corpus
from core.recipe.sources import RowsSource, WikipediaSource
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.shards import read_shard, shard_paths
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from core.storage.inputs import locate
from corpus.arxiv_files import source_tree
from corpus.documents import Document, documents_table
from corpus.entries import Entry, read_entries
from corpus.formats import read
from corpus.formats.encoding import decode
from corpus.reading import Part, Reading, Unreadable
from corpus.rows import read_rows
from corpus.wikipedia.articles import read_stream
from corpus.wikipedia.streams import StreamRecord
from corpus.wikitext import render_article

log = logging.getLogger(__name__)

Outcome = Document | Reject

_LATER = ("pdf", "images")
"""Kinds whose text OCR reads."""


class IngestStage(ShardStage):
    """Catalog entries to documents."""

    name = "corpus.ingest"
    code_version = 3
    description = "Documents from the recipe's sources; PDFs are still without text."
    reconcile = (
        "Counts what the entries held: a book gives a document per chapter, a stretch of a "
        "dump or table one per article or row; an entry that gave nothing counts one."
    )
    schema = DOCUMENT

    def __init__(self, corpus: Corpus, catalog: str) -> None:
        self._sources = corpus.sources
        self._per_shard = corpus.documents_per_shard
        self.inputs = (catalog,)

    def config(self) -> dict[str, Any]:
        """Returns the shard size; the sources are the catalog's."""
        return {"documents_per_shard": self._per_shard}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the papers' files; the content of all others is in the catalog already."""
        folder = ctx.folder(self.inputs[0])
        files = [f for path in shard_paths(folder) for f in _unhashed(_entries(path))]
        return [path for name in files for path in source_tree(ctx.path(name))]

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns units of some ``documents_per_shard`` documents, as far as the catalog knows."""
        shards = shard_paths(ctx.folder(self.inputs[0]))
        repeated = _repeated(shards)
        units: list[Unit] = []
        for path in shards:
            entries = _entries(path)
            first = 0
            while first < len(entries):
                count = self._fill(entries, first)
                chosen = entries[first : first + count]
                payload = {
                    "shard": path.name,
                    "first": first,
                    "count": count,
                    "repeated": [i for i in range(count) if (path.name, first + i) in repeated],
                    "hashes": {n: _tree_hash(n, ctx, sources) for n in _unhashed(chosen)},
                }
                rows = [{**vars(e), "created": str(e.created)} for e in chosen]
                digest = sha256_value([rows, payload["repeated"], payload["hashes"]])
                units.append(Unit(len(units), payload, digest))
                first += count
        return units

    def _fill(self, entries: list[Entry], first: int) -> int:
        """Returns how many entries from ``first`` on fill a shard; at least one."""
        documents = count = 0
        while first + count < len(entries) and documents < self._per_shard:
            documents += max(entries[first + count].expected, 1)
            count += 1
        return count

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one block of entries."""
        payload = unit.payload
        table = read_shard(ctx.folder(self.inputs[0]) / payload["shard"])
        entries = read_entries(table.slice(payload["first"], payload["count"]))
        documents: list[Document] = []
        rejects: list[Reject] = []
        metrics: dict[str, int | float] = {}
        seen: set[str] = set()
        for position, entry in enumerate(entries):
            again = position in payload["repeated"]
            for outcome in self._outcomes(entry, again, payload["hashes"], ctx):
                if isinstance(outcome, Document) and outcome.doc_id in seen:
                    # A dump may hold a page twice; paragraphs are told apart by their document.
                    outcome = Reject(outcome.doc_id, Reason.DUPLICATE_ID, "read before")
                if isinstance(outcome, Document):
                    seen.add(outcome.doc_id)
                    documents.append(outcome)
                    key = f"{entry.source}/documents"
                else:
                    rejects.append(outcome)
                    key = f"{entry.source}/{outcome.reason.value}"
                metrics[key] = metrics.get(key, 0) + 1
        return ShardResult(
            documents_table(documents),
            rejects,
            rows_in=len(documents) + len(rejects),
            metrics=metrics,
        )

    def _outcomes(
        self, entry: Entry, again: bool, hashes: dict[str, str], ctx: StageContext
    ) -> Iterator[Outcome]:
        if again:
            return iter([Reject(entry.doc_id, Reason.DUPLICATE_ID, "listed before")])
        source = self._sources[entry.number]
        if isinstance(source, WikipediaSource):
            return _articles(entry, source, ctx)
        if isinstance(source, RowsSource):
            return read_rows(entry, source, ctx.root)
        return iter(read_entry(entry, hashes, ctx.root))


def _articles(entry: Entry, source: WikipediaSource, ctx: StageContext) -> Iterator[Outcome]:
    found = False
    for document, reject in read_stream(StreamRecord(**entry.meta), source, ctx.root):
        outcome = document or reject
        if outcome is not None:
            found = True
            yield outcome
    if not found:
        yield Reject(entry.doc_id, Reason.MISSING_PAGE, "no article in this stretch of the dump")


def read_entry(entry: Entry, hashes: dict[str, str], root: Path) -> list[Outcome]:
    """Reads one file, and where that fails the entry's other file.

    Args:
        entry: what to read.
        hashes: file name to content hash, for files that the catalog has none of.
        root: folder that file names start from.

    Returns:
        Its documents, and rejects for parts that could not be read; never empty.
    """
    fault: Unreadable | None = None
    for name, kind in ((entry.file, entry.kind), (entry.fallback, "pdf")):
        if name is None:
            continue
        meta = {"file": name, "sha256": entry.sha256 or hashes.get(name)}
        if fault is not None:
            meta["instead_of"] = f"{entry.file}: {fault.detail}"
        try:
            reading = _read(kind, locate(root, name), entry.split)
        except Unreadable as error:
            fault = fault or error
            continue
        outcomes = [*_documents(entry, reading, meta), *_faults(entry, reading, name)]
        return outcomes or [Reject(entry.doc_id, Reason.EMPTY_TEXT, name)]
    assert fault is not None
    return [Reject(entry.doc_id, fault.reason, f"{entry.file}: {fault.detail}", fault.text)]


def _read(kind: str, path: Path, split: bool) -> Reading:
    """Reads a file.

    Raises:
        Unreadable: it cannot be read, whatever the reader stumbled over.
    """
    if kind in _LATER and not split:
        return Reading([Part(None, None)])
    try:
        if kind == "wikitext":
            wikitext, _ = decode(path.read_bytes(), path.name)
            return Reading([Part(None, render_article(wikitext, path.stem))])
        return read(kind, path, split)
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, str(error.strerror or error)) from error
    except Exception as error:
        # A border: parsers of foreign formats raise anything, and one bad file must not end a run.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
        log.warning("%s: %s", path.name, detail)
        raise Unreadable(Reason.READER_FAILED, detail) from error


def _documents(entry: Entry, reading: Reading, meta: dict[str, Any]) -> Iterator[Outcome]:
    """Yields a document per part; a part without text is a reject."""
    book: dict[str, Any] = {"language": reading.language} if reading.language else {}
    if entry.split:
        book |= {
            "book": reading.title or entry.meta.get("book"),
            "authors": reading.authors or entry.meta.get("authors"),
        }
    for number, part in enumerate(reading.parts, 1):
        doc_id = entry.doc_id if len(reading.parts) == 1 else f"{entry.doc_id}:{number:03d}"
        if part.text is not None and not part.text.strip():
            yield Reject(doc_id, Reason.EMPTY_TEXT, f"{entry.file}: {part.title or ''}")
            continue
        yield Document(
            doc_id=doc_id,
            source=entry.source,
            # An arXiv record's own title is better than what is found in the paper's text.
            title=entry.title or part.title or reading.title or Path(entry.file).stem,
            text=part.text,
            license=reading.license or entry.license,
            created=entry.created or reading.created,
            url=entry.url or reading.url,
            meta={**entry.meta, **reading.meta, **book, **part.meta, **meta},
            pages=part.pages,
        )


def _faults(entry: Entry, reading: Reading, name: str) -> Iterator[Reject]:
    for fault in reading.faults:
        yield Reject(entry.doc_id, fault.reason, f"{name}: {fault.detail}", fault.text)


def _entries(path: Path) -> list[Entry]:
    return read_entries(read_shard(path))


def _unhashed(entries: list[Entry]) -> list[str]:
    return [
        name
        for e in entries
        if e.sha256 is None
        for name in (e.file, e.fallback)
        if name is not None
    ]


def _tree_hash(name: str, ctx: StageContext, sources: SourceIndex) -> str:
    hashes = list(sources.hashes(source_tree(ctx.path(name))).values())
    return hashes[0] if len(hashes) == 1 else sha256_value(hashes)


def _repeated(shards: list[Path]) -> set[tuple[str, int]]:
    """Returns (shard, row) of every entry whose id an earlier one has."""
    if not shards:
        return set()
    listed = pl.concat(
        pl.read_parquet(path, columns=["doc_id"])
        .with_row_index("row")
        .with_columns(shard=pl.lit(path.name))
        for path in shards
    )
    again = listed.filter(~pl.col("doc_id").is_first_distinct())
    return {(row["shard"], row["row"]) for row in again.iter_rows(named=True)}
