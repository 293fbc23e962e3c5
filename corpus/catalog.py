"""Catalog: what there is to read from every source, after the filters and before any reading.

Cheap, so a filter can be changed and seen at once (``astromill corpus sources``); and it evens out
what follows: ingest cuts the catalog into shards of equal numbers of documents, however few of a
snapshot's records are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.hashing import sha256_value
from core.recipe.corpus import Corpus
from core.recipe.sources import (
    ArxivSource,
    BooksSource,
    FilesSource,
    RowsSource,
    WikipediaSource,
)
from core.rejects import Reason, Reject
from core.schema import ENTRY
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from core.storage.inputs import name_of
from corpus.arxiv import ArxivReader
from corpus.arxiv_files import paper_names
from corpus.arxiv_snapshot import blocks, read_block
from corpus.entries import Entry, entries_table
from corpus.files import BOOK_CHAPTERS, content_files, list_files
from corpus.rows import check_rows, row_entries
from corpus.wikipedia.streams import dump_files, index_file, wiki_streams

_RECORDS_PER_UNIT = 20_000
_RECORDS_PER_ZIPPED_UNIT = 100_000
"""Larger: whoever reads a block of a gzipped snapshot must unpack all that comes before it."""
_FILES_PER_UNIT = 5_000

FileRow = list[str | None]
"""Name, kind, hash, and the name of an earlier file with the same bytes, if any."""


class CatalogStage(ShardStage):
    """Sources to catalog entries."""

    name = "corpus.catalog"
    description = (
        "What there is to read: papers, files and stretches of dumps that pass the filters."
    )
    row_unit = "record"
    schema = ENTRY
    row_group_rows = 1024

    def __init__(self, corpus: Corpus, pages: str | None) -> None:
        """Sets the stage up.

        Args:
            corpus: the recipe section.
            pages: the stage that searched Wikipedia's categories, where there is one.
        """
        self._sources = corpus.sources
        self._pages = pages
        self.inputs = (pages,) if pages else ()

    def config(self) -> dict[str, Any]:
        """Returns the sources."""
        return {"sources": [s.model_dump(mode="json") for s in self._sources]}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns metadata files, lists, dumps, and every file that is a document of its own."""
        return [path for i in range(len(self._sources)) for path in self._files(i, ctx)]

    def source_names(self, ctx: StageContext) -> list[str]:
        """Returns the names in the paper folders: which of them are read is decided here."""
        names: list[str] = []
        for number, source in enumerate(self._sources):
            if isinstance(source, ArxivSource):
                for key, folder in (("pdfs", source.pdfs), ("latex", source.latex)):
                    if folder:
                        where = f"corpus.sources.{number}.{key}"
                        names += [folder, *paper_names(_folder(ctx.path(folder), where, ctx))]
        return names

    def _files(self, number: int, ctx: StageContext) -> list[Path]:
        source = self._sources[number]
        where = f"corpus.sources.{number}"
        if isinstance(source, ArxivSource):
            metadata = _file(ctx.path(source.metadata), f"{where}.metadata", ctx)
            lists = [_file(ctx.path(n), f"{where}.exclude_ids", ctx) for n in source.exclude_ids]
            return [metadata, *lists]
        if isinstance(source, WikipediaSource):
            dumps = dump_files(source, ctx.root)
            return [*dumps, *(index for dump in dumps if (index := index_file(dump)))]
        return content_files(list_files(source, ctx.root, where)[0])

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns units of records: of a snapshot, of a list of files, or of a whole dump."""
        units: list[Unit] = []
        seen: dict[str, str] = {}
        names = sha256_value(self.source_names(ctx))
        for number, source in enumerate(self._sources):
            if isinstance(source, FilesSource | RowsSource | BooksSource):
                payloads = self._file_payloads(number, source, ctx, sources, seen)
            else:
                hashes = sources.hashes(self._files(number, ctx))
                common = sha256_value([number, hashes, source.model_dump(mode="json")])
                if isinstance(source, ArxivSource):
                    path = ctx.path(source.metadata)
                    zipped = path.name.lower().endswith(".gz")
                    size = _RECORDS_PER_ZIPPED_UNIT if zipped else _RECORDS_PER_UNIT
                    payloads = [
                        ({"start": start, "end": end}, sha256_value([common, names, start, end]))
                        for start, end in blocks(path, size)
                    ]
                else:
                    payloads = [({"hashes": hashes}, self._with_pages(ctx, source, common))]
            for payload, digest in payloads:
                units.append(Unit(len(units), {"source": number, **payload}, digest))
        return units

    def _with_pages(self, ctx: StageContext, source: WikipediaSource, common: str) -> str:
        path = self._pages_file(ctx, source)
        hashes = SourceIndex(ctx.root, ctx.run_dir / "cache" / "pages.json")
        return sha256_value([common, hashes.digest([path])]) if path else common

    def _pages_file(self, ctx: StageContext, source: WikipediaSource) -> Path | None:
        if self._pages is None or not source.roots:
            return None
        return ctx.folder(self._pages) / f"{source.name}.parquet"

    def _file_payloads(
        self,
        number: int,
        source: FilesSource | RowsSource | BooksSource,
        ctx: StageContext,
        sources: SourceIndex,
        seen: dict[str, str],
    ) -> list[tuple[dict[str, Any], str]]:
        found, faults = list_files(source, ctx.root, f"corpus.sources.{number}")
        if isinstance(source, RowsSource):
            for file in found:
                check_rows(source, number, file.path, sources.name(file.path))
        hashes = sources.hashes(content_files(found))
        rows: list[FileRow] = []
        beside: dict[int, str] = {}
        for file in found:
            own = [hashes[sources.name(path)] for path in file.own]
            if file.parts and id(file.parts) not in beside:
                parts = [hashes[sources.name(path)] for path in file.parts]
                beside[id(file.parts)] = sha256_value(parts)
            sha256 = sha256_value([*own, beside[id(file.parts)]]) if file.parts else own[0]
            name = sources.name(file.path)
            # The same bytes twice would give two documents one id; the first one is kept.
            rows.append([name, file.kind, sha256, seen.get(sha256)])
            seen.setdefault(sha256, name)
        cuts = range(0, max(len(rows), 1), _FILES_PER_UNIT)
        payloads: list[dict[str, Any]] = [
            {"files": rows[i : i + _FILES_PER_UNIT], "faults": []} for i in cuts
        ]
        payloads[0]["faults"] = [asdict(fault) for fault in faults]
        return [(payload, sha256_value([number, payload])) for payload in payloads]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Lists one block of records."""
        payload = unit.payload
        source = self._sources[payload["source"]]
        outcomes: list[Entry | Reject]
        if isinstance(source, ArxivSource):
            outcomes = self._papers(source, payload, ctx)
        elif isinstance(source, WikipediaSource):
            outcomes = self._streams(source, payload, ctx)
        else:
            outcomes = [
                outcome
                for row in payload["files"]
                for outcome in _file_entries(row, source, payload["source"], ctx.root)
            ]
            outcomes += [
                Reject(**{**fault, "reason": Reason(fault["reason"])})
                for fault in payload["faults"]
            ]
        entries = [o for o in outcomes if isinstance(o, Entry)]
        rejects = [o for o in outcomes if isinstance(o, Reject)]
        metrics: dict[str, int | float] = {f"{source.name}/entries": len(entries)}
        for reject in rejects:
            key = f"{source.name}/{reject.reason.value}"
            metrics[key] = metrics.get(key, 0) + 1
        return ShardResult(entries_table(entries), rejects, rows_in=len(outcomes), metrics=metrics)

    def _papers(
        self, source: ArxivSource, payload: dict[str, Any], ctx: StageContext
    ) -> list[Entry | Reject]:
        reader = ArxivReader(source, payload["source"], ctx.root)
        path = ctx.path(source.metadata)
        return [
            reader.read(line, f"{source.metadata}@{position}")
            for position, line in read_block(path, payload["start"], payload["end"])
        ]

    def _streams(
        self, source: WikipediaSource, payload: dict[str, Any], ctx: StageContext
    ) -> list[Entry | Reject]:
        return [
            Entry(
                doc_id=f"wikipedia:{source.language}@{record.file}:{record.start}",
                source=source.name,
                number=payload["source"],
                kind="wikipedia",
                file=record.file,
                sha256=payload["hashes"].get(record.file),
                expected=record.expected,
                license=source.license,
                meta=asdict(record),
            )
            for record in wiki_streams(source, ctx, self._pages_file(ctx, source))
        ]


def _file_entries(
    row: FileRow, source: FilesSource | RowsSource | BooksSource, number: int, root: Path
) -> Iterator[Entry | Reject]:
    name, kind, sha256, first = row
    assert name is not None
    assert kind is not None
    assert sha256 is not None
    doc_id = f"{source.name}:{sha256[:16]}"
    if first is not None:
        yield Reject(doc_id, Reason.DUPLICATE_ID, f"{name} has the same bytes as {first}")
    elif isinstance(source, RowsSource):
        yield from row_entries(source, number, name, sha256, root)
    elif isinstance(source, FilesSource):
        yield Entry(doc_id, source.name, number, kind, name, sha256=sha256, license=source.license)
    else:
        yield Entry(
            doc_id=doc_id,
            source=source.name,
            number=number,
            kind=kind,
            file=name,
            split=True,
            sha256=sha256,
            expected=BOOK_CHAPTERS,
            license=source.license,
            url=source.url,
            meta={"book": source.title, "authors": source.authors},
        )


def _file(path: Path, where: str, ctx: StageContext) -> Path:
    if not path.is_file():
        raise _missing("file", path, where, ctx)
    return path


def _folder(path: Path, where: str, ctx: StageContext) -> Path:
    if not path.is_dir():
        raise _missing("folder", path, where, ctx)
    return path


def _missing(what: str, path: Path, where: str, ctx: StageContext) -> InputError:
    return InputError(
        f"there is no {what} '{name_of(ctx.root, path)}'",
        where=where,
        remedy=f"check the path; it starts from {ctx.root}",
    )
