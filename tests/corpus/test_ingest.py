"""Ingest: entries to documents, units of even size, and whatever a file does wrong as a reject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.recipe.corpus import Corpus
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.shards import shard_name, write_shard
from core.sources import SourceIndex
from core.stage import StageContext, Unit
from corpus import ingest
from corpus.entries import Entry, entries_table
from corpus.ingest import IngestStage, read_entry
from tests.corpus.wiki import WikiPage, single_xml

CATALOG = "corpus.catalog"


def _stage(per_shard: int = 2) -> IngestStage:
    source = {"kind": "markdown", "name": "notes", "paths": ["x"]}
    return IngestStage(
        Corpus.model_validate({"sources": [source], "documents_per_shard": per_shard}), CATALOG
    )


def _entry(name: str, kind: str = "markdown", **changes: Any) -> Entry:
    values = {"sha256": "0" * 64, "license": "CC0", **changes}
    return Entry(f"notes:{name}", "notes", 0, kind, name, **values)


def _catalog(ctx: StageContext, *shards: list[Entry]) -> None:
    for number, entries in enumerate(shards):
        write_shard(ctx.folder(CATALOG) / shard_name(number), entries_table(entries))


def _write(ctx: StageContext, **files: str) -> None:
    for name, text in files.items():
        (ctx.root / f"{name}.md").write_text(text)


def _plan(stage: IngestStage, ctx: StageContext) -> list[Unit]:
    return stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))


def _run(stage: IngestStage, ctx: StageContext) -> tuple[list[list[dict[str, Any]]], list[Reject]]:
    shards, rejects = [], []
    for unit in _plan(stage, ctx):
        result = stage.process(unit, ctx)
        assert result.kept.schema == DOCUMENT
        assert result.rows_in == result.kept.num_rows + len(result.rejected)
        shards.append(result.kept.to_pylist())
        rejects += result.rejected
    return shards, rejects


def test_units_hold_as_many_entries_as_fill_a_shard(context: StageContext) -> None:
    _write(context, a="A", b="B", c="C", d="D")
    _catalog(
        context,
        [_entry("a.md"), _entry("b.md", expected=5), _entry("c.md")],
        [_entry("d.md")],
    )
    shards, rejects = _run(_stage(), context)
    assert [[d["text"] for d in shard] for shard in shards] == [["A", "B"], ["C"], ["D"]]
    assert not rejects
    assert [len(s) for s in _run(_stage(per_shard=1), context)[0]] == [1, 1, 1, 1]


def test_a_documents_columns(context: StageContext) -> None:
    _write(context, a="---\ntitle: Stars\nlicense: CC-BY-4.0\nurl: http://x\n---\n\nA star.\n")
    _write(context, b="Plain.\n")
    _catalog(context, [_entry("a.md"), _entry("b.md")])
    ((a, b),), _ = _run(_stage(), context)
    assert (a["doc_id"], a["title"], a["license"], a["url"]) == (
        "notes:a.md",
        "Stars",
        "CC-BY-4.0",
        "http://x",
    )
    assert (b["title"], b["license"]) == ("b", "CC0")
    assert json.loads(b["meta"])["file"] == "b.md"
    assert json.loads(b["meta"])["sha256"] == "0" * 64


def test_pdfs_are_left_to_ocr_and_a_papers_content_counts(context: StageContext) -> None:
    (context.root / "p.pdf").write_bytes(b"%PDF one")
    _catalog(context, [_entry("p.pdf", "pdf", sha256=None, title="T", url="u")])
    stage = _stage()
    assert stage.source_files(context) == [context.root / "p.pdf"]
    before = _plan(stage, context)
    ((document,),), _ = _run(stage, context)
    assert (document["text"], document["title"]) == (None, "T")
    first = json.loads(document["meta"])["sha256"]
    (context.root / "p.pdf").write_bytes(b"%PDF two")
    assert _plan(stage, context)[0].digest != before[0].digest
    ((document,),), _ = _run(stage, context)
    assert json.loads(document["meta"])["sha256"] != first


def test_an_id_listed_twice_is_a_duplicate_in_any_shard(context: StageContext) -> None:
    _write(context, a="A", b="B")
    _catalog(context, [_entry("a.md"), _entry("b.md")], [_entry("b.md"), _entry("a.md")])
    shards, rejects = _run(_stage(), context)
    assert [[d["text"] for d in shard] for shard in shards] == [["A", "B"], []]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("notes:b.md", Reason.DUPLICATE_ID),
        ("notes:a.md", Reason.DUPLICATE_ID),
    ]


def test_a_page_that_a_dump_holds_twice_is_a_duplicate(context: StageContext) -> None:
    pages = [WikiPage(7, "Sun", text="A star"), WikiPage(7, "Sun", text="Our star")]
    (context.root / "x.xml").write_bytes(single_xml(pages))
    wiki = {"kind": "wikipedia", "dump": "x.xml"}
    corpus = Corpus.model_validate({"sources": [wiki]})
    record = {"file": "x.xml", "start": 0, "end": None, "page_ids": None, "expected": 2}
    entry = _entry("x.xml", "wikipedia", meta={**record, "unit": "bytes"})
    _catalog(context, [entry])
    ((document,),), rejects = _run(IngestStage(corpus, CATALOG), context)
    assert document["doc_id"] == "wikipedia:en:7"
    assert [(r.doc_id, r.reason) for r in rejects] == [("wikipedia:en:7", Reason.DUPLICATE_ID)]


def test_a_file_that_cannot_be_read_is_a_reject(context: StageContext) -> None:
    _write(context, a="   \n")
    (context.root / "b.md").write_bytes(bytes(range(256)) * 50)
    _catalog(context, [_entry("a.md"), _entry("b.md"), _entry("gone.md")])
    _, rejects = _run(_stage(per_shard=9), context)
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("notes:a.md", Reason.EMPTY_TEXT),
        ("notes:b.md", Reason.INVALID_UTF8),
        ("notes:gone.md", Reason.UNREADABLE_FILE),
    ]


def test_the_pdf_stands_in_for_latex_that_fails(tmp_path: Path) -> None:
    (tmp_path / "p.tar.gz").write_bytes(b"no archive")
    (tmp_path / "p.pdf").write_bytes(b"%PDF")
    entry = _entry("p.tar.gz", "latex", fallback="p.pdf", title="T")
    (document,) = read_entry(entry, {}, tmp_path)
    assert not isinstance(document, Reject)
    assert (document.text, document.meta["file"]) == (None, "p.pdf")
    assert document.meta["instead_of"].startswith("p.tar.gz: ")
    (reject,) = read_entry(_entry("p.tar.gz", "latex"), {}, tmp_path)
    assert isinstance(reject, Reject)
    assert reject.detail.startswith("p.tar.gz: ")


def test_a_reader_that_fails_costs_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(kind: str, path: Path, split: bool) -> Any:
        raise ZeroDivisionError("by a parser")

    monkeypatch.setattr(ingest, "read", broken)
    (reject,) = read_entry(_entry("a.md"), {}, tmp_path)
    assert isinstance(reject, Reject)
    assert reject.reason is Reason.READER_FAILED
    assert "ZeroDivisionError: by a parser" in reject.detail


def test_a_book_is_a_document_per_chapter(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# One\n\nFirst text.\n\n# Two\n\nSecond text.\n")
    entry = _entry("b.md", split=True, meta={"book": "T", "authors": ["A"]}, url="u")
    one, two = read_entry(entry, {}, tmp_path)
    assert not isinstance(one, Reject)
    assert not isinstance(two, Reject)
    assert [d.doc_id for d in (one, two)] == ["notes:b.md:001", "notes:b.md:002"]
    assert [d.title for d in (one, two)] == ["One", "Two"]
    assert (one.meta["book"], one.meta["authors"], one.url) == ("T", ["A"], "u")


def test_wikitext_files(tmp_path: Path) -> None:
    (tmp_path / "Star.wikitext").write_text("A '''star''' is [[plasma (physics)|plasma]].")
    (document,) = read_entry(_entry("Star.wikitext", "wikitext"), {}, tmp_path)
    assert not isinstance(document, Reject)
    assert "is plasma." in (document.text or "")
