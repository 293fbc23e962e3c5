"""Which parts of a dump to read: one record per part that holds wanted pages.

A multistream dump has an index (``offset:page_id:title`` per line), so the streams that hold the
wanted pages are known before anything is decompressed: a depth-2 search for astronomy touches about
a tenth of the English dump. Without an index, all articles are read by runs of bz2 blocks or of
bytes; wanted pages must first be looked for, which is one pass over the dump.

The index is streamed; memory is the wanted ids (a numpy array and a set).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from core.errors import InputError
from core.recipe.sources import WikipediaSource
from core.sources import find_files
from core.stage import StageContext
from core.storage.inputs import name_of, present
from corpus.wikipedia.bzip import block_starts
from corpus.wikipedia.dump import Place, RawPage, read_pages
from corpus.wikipedia.files import (
    CHUNK_BYTES,
    READ_ERRORS,
    Tick,
    open_decompressed,
    read_chunks,
    read_some,
)

log = logging.getLogger(__name__)

_ENDINGS = (".xml", ".xml.bz2", ".xml.gz", ".bz2")
_OTHER_NAME = re.compile(r"-index\d*\.txt|\.sql\b")
_MULTISTREAM = re.compile(r"(.*-multistream)(\d*)\.xml(-p\d+p\d+)?\.bz2")
_NUMBER = re.compile(rb"[0-9]{1,18}")
_PAGE_ID = re.compile(rb"<id>\s{0,8}(\d{1,18})\s{0,8}</id>")
_BLOCKS_PER_UNIT = 8
_BYTES_PER_UNIT = 8 << 20
_GZIP_BYTES_PER_UNIT = 64 << 20
_BLOCK_BYTES = 900_000
_USUAL_PAGE_BYTES = 4096
_HEAD_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 16
_ABSENT_PER_RECORD = 1000


@dataclass(frozen=True)
class StreamRecord:
    """A part of a dump to read, and the pages wanted from it.

    Args:
        file: the dump, relative to the recipe's root where it lies below it.
        start: where the part begins, in ``unit``.
        end: where the next part begins; None: at the file's end.
        page_ids: wanted pages, ascending; None: all articles (namespace 0).
        expected: how many pages that is; for all articles how many pages of any kind the index
            lists, or an estimate where there is no index.
        unit: see :class:`corpus.wikipedia.dump.Place`; ``absent``: the pages are in no part, and
            reading the record says so for each (``start`` is then -1, -2, ... to tell records
            apart).
    """

    file: str
    start: int
    end: int | None
    page_ids: list[int] | None
    expected: int
    unit: Literal["stream", "bits", "bytes", "absent"] = "stream"


def dump_files(source: WikipediaSource, root: Path) -> list[Path]:
    """Returns the dump's files in order: part 2 before part 10.

    Raises:
        InputError: the pattern names no file.
    """
    found = find_files(root, [source.dump], _ENDINGS, f"source '{source.name}', key 'dump'")
    dumps = [path for path in found if not _OTHER_NAME.search(path.name)]
    if not dumps:
        raise InputError(
            f"'{source.dump}' names no dump but an index or table",
            where=f"source '{source.name}', key 'dump'",
            remedy="name the ...-pages-articles-multistream.xml.bz2 beside it",
        )
    return sorted(dumps, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(p) if i % 2 else 0, p) for i, p in enumerate(parts)] + [(0, str(path))]


def index_file(dump: Path) -> Path | None:
    """Returns the index beside a multistream dump (or a part of one), or None."""
    match = _MULTISTREAM.fullmatch(dump.name)
    if match:
        stem = f"{match[1]}-index{match[2]}.txt{match[3] or ''}"
    elif dump.name.endswith(".xml.bz2"):
        stem = dump.name.removesuffix(".xml.bz2") + "-index.txt"
    else:
        return None
    candidates = (dump.with_name(stem + ending) for ending in (".bz2", ".gz", ""))
    return next((path for path in candidates if present(path)), None)


def wiki_streams(
    source: WikipediaSource, ctx: StageContext, pages_file: Path | None
) -> Iterator[StreamRecord]:
    """Yields the parts of the dump to read, ordered by file and offset.

    Args:
        source: the recipe section.
        ctx: gives the root of relative paths.
        pages_file: Parquet with the column ``page_id``; None: every article.

    Raises:
        InputError: a file is missing, or the index is not this dump's.
    """
    wanted = None
    if pages_file is not None:
        column = pq.read_table(pages_file, columns=["page_id"]).column("page_id")
        wanted = np.unique(column.to_numpy().astype(np.int64))
    yield from find_streams(source, ctx.root, wanted)


def find_streams(
    source: WikipediaSource,
    root: Path,
    wanted: npt.NDArray[np.int64] | None,
    tick: Tick | None = None,
) -> Iterator[StreamRecord]:
    """Yields what :func:`wiki_streams` does, for an array of page ids (sorted, each once)."""
    missing = None if wanted is None else set(wanted.tolist())
    name = ""
    first_pages: dict[int, Path] = {}
    for path in dump_files(source, root):
        name = name_of(root, path)
        if missing is not None and not missing:
            return
        first = _first_page(path)
        if missing is None and first is not None:
            _refuse_another(path, first_pages.setdefault(first, path), first)
        index = index_file(path)
        if index is not None:
            yield from _indexed(path, name, index, missing, tick)
            continue
        log.warning(
            "%s has no index beside it: %s; the multistream dump with its index reads faster",
            path.name,
            "it is read whole" if missing is None else "it is searched whole for the pages",
        )
        for place in _places(path):
            if missing is None:
                yield StreamRecord(name, place.start, place.end, None, _guess(place), place.unit)
                continue
            ids = _search(path, place, missing)
            if ids:
                yield StreamRecord(name, place.start, place.end, ids, len(ids), place.unit)
    absent = sorted(missing or ())
    for number, at in enumerate(range(0, len(absent), _ABSENT_PER_RECORD), 1):
        ids = absent[at : at + _ABSENT_PER_RECORD]
        yield StreamRecord(name, -number, None, ids, len(ids), "absent")


def _first_page(path: Path) -> int | None:
    """Returns the first page's number, None where the dump's start has none.

    Raises:
        InputError: it is no dump.
    """
    try:
        with path.open("rb") as raw, open_decompressed(raw) as stream:
            head = read_some(stream, _HEAD_BYTES)
    except READ_ERRORS:
        # A damaged start is a reject of that part; what follows may be read.
        return None
    if b"<mediawiki" not in head and b"<page>" not in head:
        raise InputError(
            "this is not a MediaWiki XML dump: no <mediawiki> or <page> in its first MiB",
            where=str(path),
            remedy="name the ...-pages-articles-multistream.xml.bz2 of dumps.wikimedia.org",
        )
    found = _PAGE_ID.search(head, max(head.find(b"<page>"), 0))
    return int(found[1]) if found else None


def _refuse_another(path: Path, earlier: Path, page_id: int) -> None:
    # Both would give every article, under one id.
    if path != earlier:
        raise InputError(
            f"this dump and {earlier.name} both begin with page {page_id}: they hold the same",
            where=str(path),
            remedy="let the source's 'dump' name one of them (or the parts of one)",
        )


def _search(path: Path, place: Place, missing: set[int]) -> list[int]:
    ids = []
    for raw in read_pages(path, place):
        if not isinstance(raw, RawPage):
            log.warning("%s: %s", path.name, raw.detail)
        elif raw.page_id in missing:
            missing.discard(raw.page_id)
            ids.append(raw.page_id)
    return sorted(ids)


def _guess(place: Place) -> int:
    if place.unit == "bits":
        return _BLOCKS_PER_UNIT * _BLOCK_BYTES // _USUAL_PAGE_BYTES
    return (_BYTES_PER_UNIT if place.end is None else place.end - place.start) // _USUAL_PAGE_BYTES


def _indexed(
    path: Path, name: str, index: Path, missing: set[int] | None, tick: Tick | None
) -> Iterator[StreamRecord]:
    _check_start(path, index)
    size = path.stat().st_size
    for start, end, listed in _index_groups(index, tick):
        if end is None and start < size:
            end = size
        if missing is None:
            yield StreamRecord(name, start, end, None, len(listed))
            continue
        ids = sorted(missing.intersection(listed))
        if ids:
            # A page listed twice is read once.
            missing.difference_update(ids)
            yield StreamRecord(name, start, end, ids, len(ids))


def _check_start(path: Path, index: Path) -> None:
    first = next(_index_lines(index), None)
    with path.open("rb") as file:
        if first is None:
            raise _bad_index(index, "it is empty")
        file.seek(first[0])
        head = file.read(4)
    if head[:3] != b"BZh":
        raise _bad_index(index, f"no bz2 stream begins at byte {first[0]} of {path.name}")


def _bad_index(index: Path, detail: str) -> InputError:
    return InputError(
        f"this is not the dump's index: {detail}",
        where=str(index),
        remedy="download dump and index of the same date again, and check their md5 sums",
    )


def _index_groups(index: Path, tick: Tick | None) -> Iterator[tuple[int, int | None, list[int]]]:
    """Yields (start, next start, page ids) of each stream."""
    start = -1
    listed: list[int] = []
    for offset, page_id in _index_lines(index, tick):
        if offset != start:
            if offset < start:
                raise _bad_index(index, f"offset {offset} follows {start}")
            if listed:
                yield start, offset, listed
            start, listed = offset, []
        listed.append(page_id)
    if listed:
        yield start, None, listed


def _index_lines(index: Path, tick: Tick | None = None) -> Iterator[tuple[int, int]]:
    rest, remedy = b"", "download the index again and check its md5 sum"
    for chunk in read_chunks(index, remedy, tick):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if len(rest) > _MAX_LINE_BYTES:
            raise _bad_index(index, "a line of more than 64 KiB")
        yield from _parse_lines(index, lines)
    yield from _parse_lines(index, [rest])


def _parse_lines(index: Path, lines: list[bytes]) -> Iterator[tuple[int, int]]:
    for line in lines:
        if not line.strip():
            continue
        fields = line.split(b":", 2)
        if len(fields) != 3 or not all(_NUMBER.fullmatch(field) for field in fields[:2]):
            raise _bad_index(index, f"a line is not 'offset:page_id:title': {line[:100]!r}")
        yield int(fields[0]), int(fields[1])


def _places(path: Path) -> Iterator[Place]:
    """Cuts a dump without an index into parts of a few thousand pages."""
    with path.open("rb") as file:
        head = file.read(3)
    if head == b"BZh":
        yield from _runs(_every_block(path), "bits")
        if next(_every_block(path), None) is None:
            # Nothing to read: reading it as a stream says why.
            yield Place("stream", 0, None)
    elif head[:2] == b"\x1f\x8b":
        log.warning(
            "%s: gzip can only be read from its start, so every part reads all before it; "
            "recompress it with bzip2",
            path.name,
        )
        yield from _runs(_every_bytes(path, _GZIP_BYTES_PER_UNIT), "bytes")
    else:
        yield from _runs(_every_bytes(path, _BYTES_PER_UNIT), "bytes")


def _runs(starts: Iterator[int], unit: Literal["bits", "bytes"]) -> Iterator[Place]:
    start = next(starts, None)
    while start is not None:
        following = next(starts, None)
        yield Place(unit, start, following)
        start = following


def _every_block(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        for number, bit in enumerate(block_starts(file)):
            if number % _BLOCKS_PER_UNIT == 0:
                yield bit


def _every_bytes(path: Path, step: int) -> Iterator[int]:
    size = path.stat().st_size
    with path.open("rb") as raw, open_decompressed(raw) as stream:
        if stream is not raw:
            size = _decompressed_bytes(path, stream)
    yield from range(0, max(size, 1), step)


def _decompressed_bytes(path: Path, stream: IO[bytes]) -> int:
    size = 0
    try:
        while piece := read_some(stream, CHUNK_BYTES):
            size += len(piece)
    except READ_ERRORS as error:
        log.warning("%s ends early: %s", path.name, error)
    return size
