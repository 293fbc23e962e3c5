"""Ingest: files on disk become document rows, one source after the other.

arXiv papers and PDFs come out without text, naming their file; OCR reads it. Every record that is
not kept - wrong category, a review that the benchmark was drawn from, a missing PDF, a broken line
- is a reject with the rule that caught it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import InputError
from core.hashing import sha256_value
from core.recipe.corpus import ArxivSource, Corpus, FilesSource
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.sources import SourceIndex, find_files
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.arxiv import line_blocks, read_paper, read_records
from corpus.documents import Document, documents_table
from corpus.files import ENDINGS, read_file


class IngestStage(ShardStage):
    """Sources to documents."""

    name = "corpus.ingest"
    description = "Documents from the recipe's sources; PDFs are still without text."
    row_unit = "record"
    schema = DOCUMENT

    def __init__(self, corpus: Corpus) -> None:
        self._sources = corpus.sources
        self._per_shard = corpus.documents_per_shard

    def config(self) -> dict[str, Any]:
        """Returns the sources and the shard size."""
        return {
            "sources": [s.model_dump(mode="json") for s in self._sources],
            "documents_per_shard": self._per_shard,
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns every file of every source."""
        return [path for i in range(len(self._sources)) for path in self._files(i, ctx)]

    def _files(self, number: int, ctx: StageContext) -> list[Path]:
        source = self._sources[number]
        where = f"corpus.sources.{number}"
        if isinstance(source, FilesSource):
            return find_files(ctx.root, source.paths, ENDINGS[source.kind], f"{where}.paths")
        metadata = ctx.path(source.metadata)
        if not metadata.is_file():
            raise InputError(
                f"there is no metadata file '{source.metadata}'",
                where=f"{where}.metadata",
                remedy=f"check the path; it starts from {ctx.root}",
            )
        return [metadata, *find_files(ctx.root, [source.pdfs], ENDINGS["pdf"], f"{where}.pdfs")]

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns units of at most ``documents_per_shard`` records of one source."""
        units: list[Unit] = []
        seen: dict[str, str] = {}
        for number, source in enumerate(self._sources):
            hashes = sources.hashes(self._files(number, ctx))
            if isinstance(source, ArxivSource):
                payloads = self._arxiv_payloads(number, source, ctx, hashes)
            else:
                payloads = self._file_payloads(number, hashes, seen)
            for payload, digest in payloads:
                units.append(Unit(len(units), payload, digest))
        return units

    def _arxiv_payloads(
        self, number: int, source: ArxivSource, ctx: StageContext, hashes: dict[str, str]
    ) -> list[tuple[dict[str, Any], str]]:
        everything = sha256_value(sorted(hashes.items()))
        return [
            ({"source": number, "start": start, "end": end}, sha256_value([everything, start, end]))
            for start, end in line_blocks(ctx.path(source.metadata), self._per_shard)
        ]

    def _file_payloads(
        self, number: int, hashes: dict[str, str], seen: dict[str, str]
    ) -> list[tuple[dict[str, Any], str]]:
        files = []
        for name, sha256 in hashes.items():
            # The same bytes twice would give two documents one id; the first one is kept.
            files.append([name, sha256, seen.get(sha256)])
            seen.setdefault(sha256, name)
        blocks = [files[i : i + self._per_shard] for i in range(0, len(files), self._per_shard)]
        return [({"source": number, "files": b}, sha256_value(b)) for b in blocks]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one block of records."""
        source = self._sources[unit.payload["source"]]
        documents: list[Document] = []
        rejects: list[Reject] = []
        seen: set[str] = set()
        if isinstance(source, ArxivSource):
            path = ctx.path(source.metadata)
            outcomes = [
                read_paper(line, f"{source.metadata}@{offset}", source, ctx.root)
                for offset, line in read_records(path, unit.payload["start"], unit.payload["end"])
            ]
        else:
            outcomes = [
                _duplicate(name, sha256, first, source)
                if first
                else read_file(ctx.path(name), name, sha256, source)
                for name, sha256, first in unit.payload["files"]
            ]
        for document, reject in outcomes:
            if document is not None and document.doc_id in seen:
                reject = Reject(document.doc_id, Reason.DUPLICATE_ID, "seen before", document.title)
            if reject is not None:
                rejects.append(reject)
            elif document is not None:
                seen.add(document.doc_id)
                documents.append(document)
        return ShardResult(documents_table(documents), rejects, rows_in=len(outcomes))


def _duplicate(name: str, sha256: str, first: str, source: FilesSource) -> tuple[None, Reject]:
    doc_id = f"{source.name}:{sha256[:16]}"
    return None, Reject(doc_id, Reason.DUPLICATE_ID, f"{name} has the same bytes as {first}")
