"""Pages out of an XML dump, from any place in it.

A dump is one XML document of up to 100 GB. It is never parsed as one: ``<page>`` and ``</page>``
cannot stand inside text (there they are ``&lt;page&gt;``), so the bytes between them are cut out
and each page is parsed by itself, without the document's DOCTYPE, entities or network. A page that
is damaged costs only itself, a page that is not wanted is not parsed, and memory is one page.

Three kinds of place (:class:`Place`): a bz2 stream of a multistream dump, which the index names; a
run of bz2 blocks (``corpus/wikipedia/bzip.py``); a range of bytes of plain or gzip XML. In the last
two, a page belongs to the place that it begins in.
"""

from __future__ import annotations

import bz2
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from lxml import etree

from corpus.wikipedia.bzip import read_blocks
from corpus.wikipedia.files import CHUNK_BYTES, READ_ERRORS, open_decompressed, read_some

MAX_PAGE_BYTES = 64 << 20
"""A larger page is a fault; MediaWiki's own limit for a text is 2 MiB."""

_HEADER_BYTES = 1 << 20
_OPEN, _CLOSE = b"<page>", b"</page>"
_ID = re.compile(rb"<id>\s{0,8}(\d{1,18})\s{0,8}</id>")
_NAMESPACE = re.compile(rb"<ns>\s{0,8}(-?\d{1,9})\s{0,8}</ns>")
_REDIRECT = re.compile(r"(?i)\s{0,64}#redirect\s{0,64}:?\s{0,64}\[\[([^\[\]|#\n]{1,255})")


@dataclass(frozen=True)
class Place:
    """A part of a dump that is read by itself.

    Args:
        unit: what ``start`` and ``end`` count: bytes of the file where a bz2 ``stream`` lies,
            ``bits`` of a bz2 file where a block begins, or decompressed ``bytes``.
        start: where it begins.
        end: where the next one begins; None: at the file's end.
    """

    unit: Literal["stream", "bits", "bytes"]
    start: int
    end: int | None


@dataclass(frozen=True)
class Fault:
    """Something in a dump that cannot be read."""

    detail: str


@dataclass(frozen=True)
class RawPage:
    """A page's XML, with what tells whether it is wanted.

    Args:
        page_id: the page's number.
        namespace: 0 for articles; None where the dump (before export-0.6) does not say.
        xml: the ``<page>`` element.
    """

    page_id: int
    namespace: int | None
    xml: bytes


@dataclass(frozen=True)
class Page:
    """A page's newest revision in the dump.

    Args:
        page_id: the page's number.
        namespace: 0 for articles.
        title: with spaces, and the namespace's name in front where it is not 0.
        revision_id: of the revision; None where the dump has none.
        timestamp: of the revision, ISO 8601.
        redirect_to: title that the page redirects to.
        text: wikitext; None where it was deleted.
        model: content model, ``wikitext`` where none is named.
    """

    page_id: int
    namespace: int
    title: str
    revision_id: int | None
    timestamp: str | None
    redirect_to: str | None
    text: str | None
    model: str


@dataclass(frozen=True)
class Header:
    """What a dump says of its wiki: namespace names (lower case) to their numbers."""

    namespaces: dict[str, int]

    def namespace_of(self, title: str) -> int:
        """Returns the namespace that a title's prefix names, 0 where it names none."""
        prefix, colon, _ = title.partition(":")
        name = prefix.replace("_", " ").strip().lower()
        return self.namespaces.get(name, 0) if colon else 0


@cache
def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )


def read_header(path: Path) -> Header:
    """Returns the dump's namespaces; none where it has no readable ``<siteinfo>``."""
    info = path.stat()
    return _header(path, info.st_size, info.st_mtime_ns)


@lru_cache(maxsize=64)
def _header(path: Path, size: int, mtime_ns: int) -> Header:
    try:
        with path.open("rb") as raw, open_decompressed(raw) as stream:
            head = stream.read(_HEADER_BYTES)
    except READ_ERRORS:
        return Header({})
    start, end = head.find(b"<siteinfo>"), head.find(b"</siteinfo>")
    if not 0 <= start < end:
        return Header({})
    try:
        root = etree.fromstring(head[start : end + len(b"</siteinfo>")], _parser())
    except etree.XMLSyntaxError:
        return Header({})
    names: dict[str, int] = {}
    for element in root.iter("namespace"):
        key, name = str(element.get("key", "")), (element.text or "").strip().lower()
        if name and re.fullmatch(r"-?\d{1,9}", key, re.ASCII):
            names[name] = int(key)
    return Header(names)


def read_pages(path: Path, place: Place) -> Iterator[RawPage | Fault]:
    """Yields the pages of one part of a dump, in order, and what could not be read of it.

    Raises:
        OSError: the file cannot be opened.
    """
    readers = {"stream": _stream_pieces, "bits": _block_pieces, "bytes": _byte_pieces}
    for xml in _cut(readers[place.unit](path, place)):
        if isinstance(xml, Fault):
            yield xml
            continue
        head = xml[: max(0, xml.find(b"<revision"))] or xml
        number, namespace = _ID.search(head), _NAMESPACE.search(head)
        if number is None:
            yield Fault(f"a page without an id: {_shown(xml)}")
        else:
            known = None if namespace is None else int(namespace[1])
            yield RawPage(int(number[1]), known, xml)


def _shown(xml: bytes) -> str:
    return xml[:200].decode("utf-8", "replace")


_Piece = tuple[bytes | Fault, bool]
"""Some text, or a gap in it; and whether a page that begins here belongs to the place."""


def _cut(pieces: Iterable[_Piece]) -> Iterator[bytes | Fault]:
    """Yields the ``<page>`` elements that begin in the pieces that belong to the place."""
    buffer, limit, skipping = b"", 0, False
    for piece, belongs in pieces:
        if not belongs and limit <= 0:
            return
        if isinstance(piece, Fault):
            yield piece
            if not belongs:
                return
            # The page that the gap cuts off is lost; the next one begins after it.
            buffer, limit, skipping = b"", 0, False
            continue
        buffer += piece
        if belongs:
            limit = len(buffer)
        position, skipping = _skip(buffer, skipping)
        while not skipping:
            start = buffer.find(_OPEN, position)
            if start < 0:
                position = _partial_tag(buffer, position)
                break
            position = start
            if start >= limit or (end := buffer.find(_CLOSE, start)) < 0:
                break
            position = end + len(_CLOSE)
            yield buffer[start:position]
        if len(buffer) - position > MAX_PAGE_BYTES:
            yield Fault(
                f"a page of more than {MAX_PAGE_BYTES >> 20} MiB: {_shown(buffer[position:])}"
            )
            position, skipping = len(buffer) - len(_CLOSE), True
        buffer, limit = buffer[position:], limit - position
        if not belongs and limit <= 0:
            return
    if buffer.startswith(_OPEN) and limit > 0:
        yield Fault(f"the text ends inside a page: {_shown(buffer)}")


def _partial_tag(buffer: bytes, position: int) -> int:
    """Returns where a ``<page>`` may have begun at the buffer's end, or the end."""
    at = buffer.rfind(b"<", max(position, len(buffer) - len(_OPEN) + 1))
    return at if at >= 0 and _OPEN.startswith(buffer[at:]) else len(buffer)


def _skip(buffer: bytes, skipping: bool) -> tuple[int, bool]:
    """Returns where to go on after a page that is too large, and whether it still lasts."""
    if not skipping:
        return 0, False
    end = buffer.find(_CLOSE)
    if end < 0:
        return max(0, len(buffer) - len(_CLOSE) + 1), True
    return end + len(_CLOSE), False


def _stream_pieces(path: Path, place: Place) -> Iterator[_Piece]:
    decoder = bz2.BZ2Decompressor()
    with path.open("rb") as file:
        file.seek(place.start)
        left = None if place.end is None else place.end - place.start
        compressed, fresh, first = b"", True, True
        while True:
            if decoder.eof:
                compressed, decoder = decoder.unused_data, bz2.BZ2Decompressor()
                fresh, first = True, False
            if decoder.needs_input and not compressed:
                compressed = file.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
                left = None if left is None else left - len(compressed)
                if not compressed:
                    if first or not fresh:
                        yield Fault(f"the bz2 stream at byte {place.start} is cut off"), True
                    return
            try:
                text = decoder.decompress(compressed, max_length=CHUNK_BYTES)
            except (OSError, ValueError, EOFError) as error:
                if fresh and not first:
                    # Padding behind the last stream, which bzip2 ignores as well.
                    return
                yield Fault(f"the bz2 stream at byte {place.start} is damaged: {error}"), True
                return
            compressed, fresh = b"", False
            yield text, True


def _block_pieces(path: Path, place: Place) -> Iterator[_Piece]:
    with path.open("rb") as file:
        for bit, text in read_blocks(file, place.start):
            belongs = place.end is None or bit < place.end
            if text is None:
                yield Fault(f"the bz2 block at bit {bit} is damaged or cut off"), belongs
            else:
                yield text, belongs


def _byte_pieces(path: Path, place: Place) -> Iterator[_Piece]:
    position = 0
    try:
        with path.open("rb") as raw, open_decompressed(raw) as stream:
            # Skips by reading where the file is compressed.
            position = stream.seek(place.start)
            while True:
                inside = place.end is None or position < place.end
                wanted = CHUNK_BYTES
                if place.end is not None and inside:
                    wanted = min(wanted, place.end - position)
                piece = read_some(stream, wanted)
                if not piece:
                    return
                position += len(piece)
                yield piece, inside
    except READ_ERRORS as error:
        yield Fault(f"cannot read on after byte {position}: {error or type(error).__name__}"), True


def parse_page(raw: RawPage, header: Header) -> Page | Fault:
    """Parses a page's XML; its newest revision where it has several."""
    try:
        root = etree.fromstring(raw.xml, _parser())
    except etree.XMLSyntaxError as error:
        return Fault(f"not well-formed XML: {error.msg}")
    title = (root.findtext("title") or "").strip()
    revisions = root.findall("revision")
    newest = max(revisions, key=_age) if revisions else etree.Element("revision")
    text = newest.find("text")
    namespace = header.namespace_of(title) if raw.namespace is None else raw.namespace
    number = newest.findtext("id") or ""
    wikitext = None if text is None or text.get("deleted") else "".join(map(str, text.itertext()))
    return Page(
        page_id=raw.page_id,
        namespace=namespace,
        title=title,
        revision_id=int(number) if re.fullmatch(r"\d{1,18}", number, re.ASCII) else None,
        timestamp=newest.findtext("timestamp"),
        redirect_to=_redirect(root, wikitext),
        text=wikitext,
        model=(newest.findtext("model") or "wikitext").strip(),
    )


def _redirect(root: etree._Element, wikitext: str | None) -> str | None:
    element = root.find("redirect")
    if element is not None:
        return str(element.get("title", ""))
    # Dumps before export-0.4 do not mark redirects.
    match = _REDIRECT.match(wikitext or "")
    return match[1].strip() if match else None


def _age(revision: etree._Element) -> str:
    return revision.findtext("timestamp") or ""
