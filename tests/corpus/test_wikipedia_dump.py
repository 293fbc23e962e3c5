"""Dumps in any packing give every page once; damage costs what is damaged; attacks get nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.recipe.sources import WikipediaSource
from core.rejects import Reason
from core.stage import StageContext
from corpus.wikipedia import dump, streams
from corpus.wikipedia.articles import Outcome, own_categories, read_stream
from corpus.wikipedia.bzip import block_starts, read_blocks
from corpus.wikipedia.dump import Fault, Header, Page, Place, RawPage, parse_page, read_pages
from corpus.wikipedia.streams import StreamRecord, wiki_streams
from tests.corpus.wiki import WikiPage, page_xml, single_xml, write_multistream


def _pages(count: int = 20) -> list[WikiPage]:
    generator = random.Random(1)
    words = ["star", "galaxy", "orbit", "light", "mass", "<ref>", "&amp;", "é", "[[Sun|sun]]"]
    return [
        WikiPage(10 + n * 3, f"Page {n}", text=" ".join(generator.choices(words, k=40)))
        for n in range(count)
    ]


def _source(dump_name: str, **facts: object) -> WikipediaSource:
    return WikipediaSource.model_validate(
        {"kind": "wikipedia", "language": "xx", "dump": dump_name, **facts}
    )


def _wanted(folder: Path, ids: list[int]) -> Path:
    path = folder / "pages.parquet"
    pq.write_table(pa.table({"page_id": pa.array(ids, pa.int64())}), path)
    return path


def _outcomes(
    context: StageContext, dump_name: str, ids: list[int] | None = None, **facts: object
) -> list[Outcome]:
    source = _source(dump_name, **facts)
    pages_file = None if ids is None else _wanted(context.root, ids)
    return [
        outcome
        for record in wiki_streams(source, context, pages_file)
        for outcome in read_stream(record, source, context.root)
    ]


def _ids(outcomes: list[Outcome]) -> list[str]:
    return [document.doc_id for document, _ in outcomes if document is not None]


def _reasons(outcomes: list[Outcome]) -> list[tuple[str, Reason]]:
    return [(reject.doc_id, reject.reason) for _, reject in outcomes if reject is not None]


def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_BLOCKS_PER_UNIT", "_BYTES_PER_UNIT", "_GZIP_BYTES_PER_UNIT"):
        monkeypatch.setattr(streams, name, 1 if "BLOCKS" in name else 60_000)


def _bz2_of_small_blocks(text: bytes) -> bytes:
    # Blocks hold 100 kB at least; text that does not compress makes many.
    return bz2.compress(text, 1)


def _write(folder: Path, packing: str, pages: list[WikiPage]) -> str:
    xml = single_xml(pages)
    if packing == "multistream":
        return write_multistream(folder, pages)[0].name
    if packing == "multistream-no-index":
        path, index, _ = write_multistream(folder, pages)
        index.unlink()
        return path.name
    packings: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "one-stream": (".xml.bz2", _bz2_of_small_blocks),
        "gzip": (".xml.gz", gzip.compress),
        "plain": (".xml", bytes),
    }
    suffix, pack = packings[packing]
    path = folder / f"xxwiki-pages-articles{suffix}"
    path.write_bytes(pack(xml))
    return path.name


PACKINGS = ["multistream", "multistream-no-index", "one-stream", "gzip", "plain"]


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_every_page_once(
    context: StageContext, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    _small_units(monkeypatch)
    pages = _pages(200)
    for number, page in enumerate(pages):
        page.text += "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz ", k=3000))
    name = _write(context.root, packing, pages)
    expected = [f"wikipedia:xx:{page.page_id}" for page in pages]
    records = list(wiki_streams(_source(name), context, None))
    assert len(records) > 3
    assert _ids(_outcomes(context, name)) == expected
    wanted = [page.page_id for page in pages[::17]]
    chosen = list(wiki_streams(_source(name), context, _wanted(context.root, wanted)))
    assert [i for record in chosen for i in record.page_ids or ()] == wanted
    assert all(record.expected == len(record.page_ids or ()) for record in chosen)
    assert _ids(_outcomes(context, name, wanted)) == expected[::17]


@pytest.mark.parametrize("version", ["0.10", "0.11"])
def test_page_fields(tmp_path: Path, version: str) -> None:
    pages = [
        WikiPage(1, "A & B", text=" two  spaces\n<math>x</math>"),
        WikiPage(2, "R", redirect='A & "B"'),
        WikiPage(3, "Script.js", model="javascript"),
        WikiPage(4, "Stars", 14),
    ]
    path = tmp_path / "d.xml"
    path.write_bytes(single_xml(pages, version))
    header = dump.read_header(path)
    assert header.namespaces["kategorie"] == 14
    found = [
        parse_page(raw, header)
        for raw in read_pages(path, Place("bytes", 0, None))
        if isinstance(raw, RawPage)
    ]
    assert found[0] == Page(
        1, 0, "A & B", 100, "2025-03-04T05:06:07Z", None, " two  spaces\n<math>x</math>", "wikitext"
    )
    assert isinstance(found[1], Page)
    assert isinstance(found[2], Page)
    assert isinstance(found[3], Page)
    assert found[1].redirect_to == 'A & "B"'
    assert found[2].model == "javascript"
    assert (found[3].namespace, found[3].title) == (14, "Kategorie:Stars")


def _parsed(xml: str) -> Page | Fault:
    return parse_page(RawPage(1, 0, xml.encode()), Header({"talk": 1}))


def test_missing_and_deleted_parts() -> None:
    page = _parsed(
        "<page><title>X</title><id>1</id><revision><id>5</id><contributor deleted='deleted'/>"
        "<text bytes='9' deleted='deleted' /></revision></page>"
    )
    assert page == Page(1, 0, "X", 5, None, None, None, "wikitext")
    assert _parsed("<page><id>1</id></page>") == Page(1, 0, "", None, None, None, None, "wikitext")
    old = RawPage(1, None, b"<page><title>Talk:X</title><id>1</id><revision><text>#redirect"
                           b" [[Sun#Core|s]]</text></revision></page>")  # fmt: skip
    page = parse_page(old, Header({"talk": 1}))
    assert isinstance(page, Page)
    assert (page.namespace, page.redirect_to) == (1, "Sun")


def test_newest_of_several_revisions() -> None:
    page = _parsed(
        "<page><title>X</title><id>1</id>"
        "<revision><id>6</id><timestamp>2024-01-01T00:00:00Z</timestamp><text>new</text></revision>"
        "<revision><id>5</id><timestamp>2020-01-01T00:00:00Z</timestamp><text>old</text></revision>"
        "</page>"
    )
    assert isinstance(page, Page)
    assert page.text == "new"


def test_parts_with_their_indexes(context: StageContext) -> None:
    pages = _pages(30)
    write_multistream(context.root, pages[:9], part="1", span="-p1p34")
    write_multistream(context.root, pages[9:20], part="2", span="-p35p67")
    write_multistream(context.root, pages[20:], part="10", span="-p68p97")
    expected = [f"wikipedia:xx:{page.page_id}" for page in pages]
    for pattern in ("*multistream*.bz2", "*-multistream[0-9]*.xml*"):
        records = list(wiki_streams(_source(pattern), context, None))
        assert {record.unit for record in records} == {"stream"}
        assert _ids(_outcomes(context, pattern)) == expected


def test_two_dumps_of_the_same_pages_are_refused(context: StageContext) -> None:
    pages = _pages(5)
    write_multistream(context.root, pages)
    one = _write(context.root, "one-stream", pages)
    with pytest.raises(InputError, match="both begin with page 10"):
        _outcomes(context, "xxwiki*.bz2")
    # A search reads each of its pages from the first that has it.
    assert _ids(_outcomes(context, "xxwiki*.bz2", [10, 13])) == [
        "wikipedia:xx:10",
        "wikipedia:xx:13",
    ]
    assert len(_ids(_outcomes(context, one))) == 5


def test_articles_without_search_are_those_of_namespace_0(context: StageContext) -> None:
    pages = [
        WikiPage(1, "Article"),
        WikiPage(2, "Talk", 1),
        WikiPage(3, "Alias", redirect="Article"),
        WikiPage(4, "Data", model="json"),
        WikiPage(5, "Blank", text=" "),
        WikiPage(6, "Nothing shown", text="<!-- all a comment -->"),
    ]
    name, _, _ = write_multistream(context.root, pages)
    outcomes = _outcomes(context, name.name)
    assert _ids(outcomes) == ["wikipedia:xx:1"]
    assert _reasons(outcomes) == [
        ("wikipedia:xx:3", Reason.REDIRECT),
        ("wikipedia:xx:4", Reason.NOT_AN_ARTICLE),
        ("wikipedia:xx:5", Reason.EMPTY_TEXT),
        ("wikipedia:xx:6", Reason.EMPTY_TEXT),
    ]
    outcomes = _outcomes(context, name.name, [1, 2, 3, 99])
    assert _ids(outcomes) == ["wikipedia:xx:1"]
    assert _reasons(outcomes) == [
        ("wikipedia:xx:2", Reason.NOT_AN_ARTICLE),
        ("wikipedia:xx:3", Reason.REDIRECT),
        ("wikipedia:xx:99", Reason.MISSING_PAGE),
    ]


def test_document(context: StageContext) -> None:
    text = "'''Ünïcode''' is here.\n\n[[Kategorie:Stars|*]] [[category: Deep  sky]]"
    name, _, _ = write_multistream(context.root, [WikiPage(7, "Ü/ber & C++?", text=text)])
    ((document, reject),) = _outcomes(context, name.name, license="CC-BY-SA-4.0")
    assert reject is None
    assert document is not None
    assert (document.doc_id, document.source, document.title) == (
        "wikipedia:xx:7", "wikipedia", "Ü/ber & C++?",
    )  # fmt: skip
    assert "here" in (document.text or "")
    assert str(document.created) == "2025-03-04"
    escaped = "%C3%9C/ber_%26_C%2B%2B%3F"
    assert document.url == f"https://xx.wikipedia.org/w/index.php?title={escaped}&oldid=700"
    assert document.meta["revision_id"] == 700
    assert document.meta["page_id"] == 7
    assert document.meta["timestamp"] == "2025-03-04T05:06:07Z"
    assert document.meta["categories"] == ["Stars", "Deep sky"]
    notice = document.meta["notice"]
    assert f"https://xx.wikipedia.org/wiki/{escaped}" in notice
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in notice
    assert document.license == "CC-BY-SA-4.0"


def test_own_categories_are_linear() -> None:
    assert own_categories("[[Category:" * 100_000, Header({})) == []
    assert own_categories("[[Sun:x]] [[Category:A]] [[Category:A|b]]", Header({})) == ["A"]


def test_a_damaged_stream_costs_its_pages(context: StageContext) -> None:
    pages = _pages(12)
    path, _, offsets = write_multistream(context.root, pages)
    content = bytearray(path.read_bytes())
    content[offsets[1] + 60 : offsets[1] + 90] = bytes(30)
    path.write_bytes(content[: offsets[3] + 50])
    ids = [page.page_id for page in pages]
    outcomes = _outcomes(context, path.name, ids)
    lost = {*range(3, 6), *range(9, 12)}
    assert _ids(outcomes) == [
        f"wikipedia:xx:{p.page_id}" for n, p in enumerate(pages) if n not in lost
    ]
    assert _reasons(outcomes) == [
        (f"wikipedia:xx:{pages[n].page_id}", Reason.UNREADABLE_FILE) for n in sorted(lost)
    ]
    # Without a list of pages the streams themselves are named.
    assert _reasons(_outcomes(context, path.name)) == [
        (f"{path.name}@{offsets[n]}", Reason.UNREADABLE_FILE) for n in (1, 3)
    ]


def test_a_dump_cut_off_before_what_its_index_names(context: StageContext) -> None:
    pages = _pages(12)
    path, _, offsets = write_multistream(context.root, pages)
    path.write_bytes(path.read_bytes()[: offsets[2]])
    outcomes = _outcomes(context, path.name, [page.page_id for page in pages])
    assert len(_ids(outcomes)) == 6
    assert Counter(reason for _, reason in _reasons(outcomes)) == {Reason.UNREADABLE_FILE: 6}


@pytest.mark.parametrize("packing", ["one-stream", "gzip", "plain"])
def test_a_truncated_dump_without_an_index(context: StageContext, packing: str) -> None:
    pages = _pages(200)
    for number, page in enumerate(pages):
        page.text = "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz", k=3000))
    name = _write(context.root, packing, pages)
    path = context.root / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    outcomes = _outcomes(context, name)
    found = len(_ids(outcomes))
    assert 50 < found < 150
    assert [reason for _, reason in _reasons(outcomes)] == [Reason.UNREADABLE_FILE]
    # Every wanted page has an outcome of its own.
    outcomes = _outcomes(context, name, [page.page_id for page in pages])
    assert len(outcomes) == 200
    assert len(_ids(outcomes)) == found


def test_a_damaged_block_costs_its_pages(context: StageContext) -> None:
    pages = _pages(400)
    for number, page in enumerate(pages):
        page.text = "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz", k=3000))
    name = _write(context.root, "one-stream", pages)
    path = context.root / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    outcomes = _outcomes(context, name)
    assert 350 < len(_ids(outcomes)) < 400
    assert [reason for _, reason in _reasons(outcomes)] == [Reason.UNREADABLE_FILE]
    # Found again behind the damage.
    assert _ids(outcomes)[-1] == f"wikipedia:xx:{pages[-1].page_id}"


def test_blocks_of_any_stream() -> None:
    generator = random.Random(9)
    text = generator.randbytes(700_000)
    packed = b"".join(
        bz2.compress(text[at : at + 150_000], generator.randrange(1, 10))
        for at in range(0, len(text), 150_000)
    )
    # Empty streams have no block, and padding behind the last one is no part of it.
    packed += bz2.compress(b"") * 2 + bz2.compress(b"tail")
    file = io.BytesIO(packed)
    blocks = list(read_blocks(file, 0))
    assert b"".join(part or b"?" for _, part in blocks) == text + b"tail"
    assert [bit for bit, _ in blocks] == list(block_starts(file))
    for number, (bit, _) in enumerate(blocks):
        assert list(read_blocks(file, bit)) == blocks[number:]


def test_blocks_at_every_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from corpus.wikipedia import bzip

    monkeypatch.setattr(bzip, "_WINDOW_BYTES", 64)
    magic = 0x314159265359
    for shift in range(8):
        for before in (0, 50, 57, 58, 59, 63, 64):
            number = magic << (8 - shift) | (1 << 60)
            data = b"\xff" * before + (number & ((1 << 56) - 1)).to_bytes(7, "big") + b"\xff" * 70
            assert list(block_starts(io.BytesIO(data))) == [before * 8 + shift]


def test_a_block_magic_by_chance_inside_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    text = random.Random(4).randbytes(300_000)
    packed = bz2.compress(text, 1)
    file = io.BytesIO(packed)
    real = list(block_starts(file))
    from corpus.wikipedia import bzip

    fake = [real[0], real[0] + 4000, *real[1:]]
    monkeypatch.setattr(bzip, "block_starts", lambda f, bit: iter(b for b in fake if b >= bit))
    assert b"".join(part or b"" for _, part in read_blocks(file, 0)) == text


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize("packing", ["plain", "one-stream"])
@pytest.mark.parametrize("doctype", [
    f'<!DOCTYPE m [<!ENTITY l0 "lol">{LAUGHS}]>',
    '<!DOCTYPE m [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE m SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY % l11 SYSTEM "file:///etc/passwd">]>',
])  # fmt: skip
def test_entities_are_never_expanded(context: StageContext, packing: str, doctype: str) -> None:
    pages = [WikiPage(1, "Attack", text="ENTITY"), WikiPage(2, "Good")]
    xml = doctype.encode() + single_xml(pages).replace(b"ENTITY</text>", b"&l11;</text>")
    name = f"attack.xml{'.bz2' if packing == 'one-stream' else ''}"
    (context.root / name).write_bytes(bz2.compress(xml) if packing == "one-stream" else xml)
    outcomes = _outcomes(context, name)
    assert _ids(outcomes) == ["wikipedia:xx:2"]
    assert _reasons(outcomes) == [("wikipedia:xx:1", Reason.MALFORMED_RECORD)]


def test_a_doctype_inside_a_page_is_refused() -> None:
    page = _parsed(f'<!DOCTYPE m [<!ENTITY l0 "lol">{LAUGHS}]><page><text>&l11;</text></page>')
    assert not isinstance(page, Page) or "lollol" not in (page.text or "")
    attack = '<!DOCTYPE m [<!ENTITY e SYSTEM "file:///etc/passwd">]><page><revision><text>&e;</text></revision></page>'
    page = _parsed(attack)
    assert not isinstance(page, Page) or "root:" not in (page.text or "")


@pytest.mark.parametrize(
    "text", ["<a>" * 500_000, "&#1;", "<a b='c'" + " d='e'" * 1000, "<![CDATA["]
)
def test_markup_made_to_hurt_the_parser(text: str) -> None:
    page = _parsed(
        f"<page><title>X</title><id>1</id><revision><text>{text}</text></revision></page>"
    )
    assert isinstance(page, Fault)


def test_malformed_pages_cost_themselves(context: StageContext) -> None:
    xml = b"".join([
        b"<mediawiki>",
        page_xml(WikiPage(1, "One")).encode(),
        page_xml(WikiPage(2, "Bad bytes")).encode().replace(b"Some text", b"\xff\xfe\x00"),
        page_xml(WikiPage(3, "Bad tag")).encode().replace(b"</text>", b"</txt>"),
        page_xml(WikiPage(4, "No id")).encode().replace(b"<id>4</id>", b""),
        page_xml(WikiPage(5, "Five")).encode(),
        b"</mediawiki>",
    ])  # fmt: skip
    (context.root / "d.xml").write_bytes(xml)
    outcomes = _outcomes(context, "d.xml")
    assert _ids(outcomes) == ["wikipedia:xx:1", "wikipedia:xx:5"]
    assert Counter(reason for _, reason in _reasons(outcomes)) == {
        Reason.MALFORMED_RECORD: 2, Reason.UNREADABLE_FILE: 1,
    }  # fmt: skip


def test_a_page_without_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "MAX_PAGE_BYTES", 8 << 20)
    path = tmp_path / "bomb.xml.bz2"
    # 200 MB of text in 10 kB, then a page that is fine.
    packed = bz2.compress(b"<page><id>1</id>" + b"x" * (1 << 20))
    packed += bz2.compress(bytes(1 << 20)) * 200
    path.write_bytes(packed + bz2.compress(b"</page>" + page_xml(WikiPage(2, "Two")).encode()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = list(read_pages(path, Place("stream", 0, None)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150_000
    assert isinstance(found[0], Fault)
    assert "8 MiB" in found[0].detail
    assert [raw.page_id for raw in found if isinstance(raw, RawPage)] == [2]


def _bad_index(context: StageContext, content: bytes) -> InputError:
    path, index, _ = write_multistream(context.root, _pages(9))
    index.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(wiki_streams(_source(path.name), context, None))
    assert caught.value.where == str(index)
    return caught.value


def _packed(text: str) -> bytes:
    return bz2.compress(text.encode())


@pytest.mark.parametrize(("text", "what"), [
    ("77:10:Page\n", "no bz2 stream begins at byte 77"),
    ("0:10:A\n5:11:B\n3:12:C\n", "offset 3 follows 5"),
    ("0:10:A\nnonsense\n", "a line is not 'offset:page_id:title'"),
    ("0:" + "9" * 5000 + ":A\n", "a line is not"),
    ("", "it is empty"),
    ("0" * 100_000, "a line of more than 64 KiB"),
])  # fmt: skip
def test_an_index_that_is_none(context: StageContext, text: str, what: str) -> None:
    assert what in _bad_index(context, _packed(text)).what


def test_a_truncated_index(context: StageContext) -> None:
    assert "to its end" in _bad_index(context, _packed("0:1:A\n" * 9)[:-9]).what


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", bz2.compress(b"hello")])
def test_a_file_that_is_no_dump(context: StageContext, content: bytes) -> None:
    (context.root / "d.xml.bz2").write_bytes(content)
    with pytest.raises(InputError, match="not a MediaWiki XML dump"):
        _outcomes(context, "d.xml.bz2")


def test_a_bz2_file_without_a_whole_block(context: StageContext) -> None:
    (context.root / "d.xml.bz2").write_bytes(bz2.compress(single_xml(_pages(3)))[:10])
    outcomes = _outcomes(context, "d.xml.bz2")
    assert [reason for _, reason in _reasons(outcomes)] == [Reason.UNREADABLE_FILE]


def test_a_dump_that_is_gone(context: StageContext) -> None:
    record = StreamRecord("none.xml.bz2", 0, None, [1], 1)
    with pytest.raises(InputError, match="not there any more"):
        list(read_stream(record, _source("none.xml.bz2"), context.root))
    with pytest.raises(InputError, match="no file found"):
        _outcomes(context, "none*.xml.bz2")


def test_only_an_index_named(context: StageContext) -> None:
    _, index, _ = write_multistream(context.root, _pages(3))
    with pytest.raises(InputError, match="no dump but an index"):
        _outcomes(context, index.name)


def test_markup_that_breaks_the_renderer(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corpus.wikipedia import articles

    def broken(text: str, title: str, language: str) -> str:
        raise RecursionError("too deep")

    monkeypatch.setattr(articles, "render_article", broken)
    path, _, _ = write_multistream(context.root, [WikiPage(1, "A", text="{{x")])
    ((_, reject),) = _outcomes(context, path.name)
    assert reject is not None
    assert reject.reason is Reason.BAD_MARKUP
    assert reject.text == "{{x"


def test_absent_pages_come_in_records_of_bounded_size(context: StageContext) -> None:
    path, _, _ = write_multistream(context.root, _pages(3))
    wanted = _wanted(context.root, list(range(1000, 3500)))
    records = list(wiki_streams(_source(path.name), context, wanted))
    assert {r.unit for r in records} == {"absent"}
    assert [r.expected for r in records] == [1000, 1000, 500]


def _streamed() -> Iterator[tuple[bytes | Fault, bool]]:
    yield b"<page>a</page><pa", True
    yield b"ge>b", False
    yield b"</page><page>c</page>", False
    raise AssertionError("read further than needed")


def test_a_page_belongs_where_it_begins() -> None:
    assert list(dump._cut(_streamed())) == [b"<page>a</page>", b"<page>b</page>"]
    rest: list[tuple[bytes | Fault, bool]] = [(b"ge>b</page><page>c</page>", True)]
    assert list(dump._cut(rest)) == [b"<page>c</page>"]
