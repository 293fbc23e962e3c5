"""The catalog: what there is to read, in units that do not depend on time."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.recipe.corpus import Corpus
from core.recipe.sources import FilesSource
from core.rejects import Reason, Reject, rejects_table
from core.schema import ENTRY
from core.sources import SourceIndex
from core.stage import StageContext, Unit
from corpus.catalog import CatalogStage
from corpus.entries import Entry, read_entries
from corpus.files import list_files


def _stage(*sources: dict[str, Any]) -> CatalogStage:
    return CatalogStage(Corpus.model_validate({"sources": list(sources)}), None)


def _files(kind: str = "markdown", **changes: Any) -> dict[str, Any]:
    return {"kind": kind, "name": "notes", "paths": ["notes"], **changes}


def _plan(stage: CatalogStage, ctx: StageContext) -> list[Unit]:
    return stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))


def _run(stage: CatalogStage, ctx: StageContext) -> tuple[list[Entry], list[Reject]]:
    entries: list[Entry] = []
    rejects: list[Reject] = []
    for unit in _plan(stage, ctx):
        result = stage.process(unit, ctx)
        assert result.kept.schema == ENTRY
        assert result.rows_in == result.kept.num_rows + len(result.rejected)
        entries += read_entries(result.kept)
        rejects += result.rejected
    return entries, rejects


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / "notes" / f"{name.replace('__', '/')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _papers(root: Path, *identifiers: str) -> dict[str, Any]:
    lines = [
        json.dumps({"id": i, "title": i, "categories": "astro-ph.GA"}) + "\n" for i in identifiers
    ]
    (root / "meta.jsonl").write_text("".join(lines))
    (root / "pdf").mkdir(exist_ok=True)
    for identifier in set(identifiers):
        (root / "pdf" / f"{identifier}.pdf").write_bytes(b"%PDF")
    return {"kind": "arxiv", "metadata": "meta.jsonl", "pdfs": "pdf"}


def test_files_and_papers_one_source_after_the_other(context: StageContext) -> None:
    _write(context.root, a="A", b="B")
    papers = _papers(context.root, "0704.0001", "0704.0002")
    stage = _stage(_files(license="CC0"), papers)
    units = _plan(stage, context)
    assert [u.index for u in units] == [0, 1]
    assert len({u.digest for u in units}) == 2
    entries, rejects = _run(stage, context)
    assert not rejects
    assert [(e.source, e.number, e.kind, e.file) for e in entries] == [
        ("notes", 0, "markdown", "notes/a.md"),
        ("notes", 0, "markdown", "notes/b.md"),
        ("arxiv", 1, "pdf", "pdf/0704.0001.pdf"),
        ("arxiv", 1, "pdf", "pdf/0704.0002.pdf"),
    ]
    assert [e.license for e in entries] == ["CC0", "CC0", None, None]
    assert entries[0].doc_id == f"notes:{entries[0].sha256[:16]}" if entries[0].sha256 else False


def test_a_gzipped_snapshot_gives_the_same_entries(context: StageContext) -> None:
    papers = _papers(context.root, "0704.0001", "0704.0002")
    plain, _ = _run(_stage(papers), context)
    (context.root / "m.json.gz").write_bytes(
        gzip.compress((context.root / "meta.jsonl").read_bytes())
    )
    zipped, _ = _run(_stage({**papers, "metadata": "m.json.gz"}), context)
    assert zipped == plain


def test_the_plan_depends_on_content_not_on_time(context: StageContext) -> None:
    _write(context.root, a="A", b="B")
    stage = _stage(_files())
    first = _plan(stage, context)
    assert _plan(stage, context) == first
    _write(context.root, b="changed")
    assert _plan(stage, context)[0].digest != first[0].digest


def test_a_new_pdf_is_seen(context: StageContext) -> None:
    stage = _stage(_papers(context.root, "0704.0001"))
    names, before = stage.source_names(context), _plan(stage, context)
    (context.root / "pdf" / "0704.0001v2.pdf").write_bytes(b"%PDF")
    assert stage.source_names(context) != names
    assert _plan(stage, context)[0].digest != before[0].digest


def test_the_same_bytes_twice_are_a_duplicate_in_any_source(context: StageContext) -> None:
    _write(context.root, a="A", b="B", c="A", d="D", e="A")
    (context.root / "other").mkdir()
    (context.root / "other" / "x.md").write_text("D")
    entries, rejects = _run(_stage(_files(), _files(name="other", paths=["other"])), context)
    assert [e.file for e in entries] == ["notes/a.md", "notes/b.md", "notes/d.md"]
    assert {r.reason for r in rejects} == {Reason.DUPLICATE_ID}
    assert [r.detail for r in rejects] == [
        "notes/c.md has the same bytes as notes/a.md",
        "notes/e.md has the same bytes as notes/a.md",
        "other/x.md has the same bytes as notes/d.md",
    ]


def test_broken_records_are_rejects_at_their_place(context: StageContext) -> None:
    papers = _papers(context.root, "0704.0001")
    (context.root / "meta.jsonl").write_bytes(b'{"id": 5}\nnonsense\n\xff\n\n{"id":"0704.0001"}')
    entries, rejects = _run(_stage(papers), context)
    assert not entries
    assert Counter(r.reason for r in rejects) == {
        Reason.MALFORMED_RECORD: 2,
        Reason.INVALID_UTF8: 1,
        Reason.EXCLUDED_CATEGORY: 1,
    }
    assert rejects[0].doc_id == "meta.jsonl@0"


def test_a_link_out_of_the_folder_is_a_reject(context: StageContext) -> None:
    _write(context.root, a="A", deep__b="B")
    (context.root / "secret.md").write_text("S")
    (context.root / "notes" / "s.md").symlink_to(context.root / "secret.md")
    (context.root / "notes" / "inside.md").symlink_to(context.root / "notes" / "deep" / "b.md")
    entries, rejects = _run(_stage(_files()), context)
    assert [e.file for e in entries] == ["notes/a.md", "notes/deep/b.md"]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        (entries[1].doc_id, Reason.DUPLICATE_ID),
        ("notes:notes/s.md", Reason.LINK_OUT),
    ]


def test_what_cannot_be_read_in_a_folder_stops_no_run(context: StageContext) -> None:
    _write(context.root, a="A")
    (context.root / "notes" / "dead.md").symlink_to(context.root / "notes" / "gone.md")
    (context.root / "notes" / "loop.md").symlink_to("loop.md")
    stage = _stage(_files())
    assert stage.source_files(context) == [context.root / "notes" / "a.md"]
    entries, rejects = _run(stage, context)
    assert [e.file for e in entries] == ["notes/a.md"]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("notes:notes/dead.md", Reason.UNREADABLE_FILE),
        ("notes:notes/loop.md", Reason.UNREADABLE_FILE),
    ]


def test_a_name_that_is_no_text_can_be_rejected(context: StageContext) -> None:
    folder = context.root / "tex"
    folder.mkdir()
    (folder / "ms.tex").write_text("\\documentclass{aa}")
    (folder / os.fsdecode(b"caf\xe9.tex")).write_text("part")
    _, (reject,) = _run(_stage(_files("latex", paths=["tex"])), context)
    (row,) = rejects_table("corpus.catalog", [reject]).to_pylist()
    assert row["doc_id"] == "notes:tex/caf\\udce9.tex"


# --- What is a document


def test_a_latex_paper_is_its_main_file_and_what_lies_beside_it(context: StageContext) -> None:
    folder = context.root / "tex" / "paper"
    (folder / "sections").mkdir(parents=True)
    (folder / "main.tex").write_text("% x\n\\documentclass{aa}\n\\input{intro}")
    (folder / "intro.tex").write_text("Intro")
    (folder / "sections" / "two.tex").write_text("Two")
    (context.root / "tex" / "chapter1.tex").write_text("\\chapter{One}")
    stage = _stage(_files("latex", paths=["tex"]))
    entries, rejects = _run(stage, context)
    assert [e.file for e in entries] == ["tex/chapter1.tex", "tex/paper/main.tex"]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("notes:tex/paper/intro.tex", Reason.PART_OF_ANOTHER),
        ("notes:tex/paper/sections/two.tex", Reason.PART_OF_ANOTHER),
    ]
    before = entries[1].sha256
    (folder / "intro.tex").write_text("Another intro")
    assert _run(stage, context)[0][1].sha256 != before


def test_papers_of_one_folder_share_their_parts(context: StageContext) -> None:
    folder = context.root / "tex"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.tex").write_text(f"\\documentclass{{aa}} {number}")
    (folder / "refs.bib").write_text("@book{a}")
    stage = _stage(_files("latex", paths=["tex"]))
    assert stage.source_files(context) == sorted(folder.iterdir())
    source = FilesSource(kind="latex", name="notes", paths=["tex"])
    found, _ = list_files(source, context.root, "x")
    # A list for each would be as many as their number squared.
    assert all(file.parts is found[0].parts for file in found)
    before = [e.sha256 for e in _run(stage, context)[0]]
    assert len(set(before)) == 3
    (folder / "refs.bib").write_text("@book{b}")
    assert not set(before) & {e.sha256 for e in _run(stage, context)[0]}


def test_a_folder_of_page_images_is_a_document(context: StageContext) -> None:
    for name in ("a/p1.png", "a/p2.PNG", "b/p1.jpg"):
        path = context.root / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    entries, _ = _run(_stage(_files("images", paths=["scans"])), context)
    assert [(e.kind, e.file) for e in entries] == [("images", "scans/a"), ("images", "scans/b")]


def test_books_are_known_by_their_ending(context: StageContext) -> None:
    folder = context.root / "books"
    for name in ("a.epub", "b.pdf", "c.txt", "x/collection.xml", "x/modules/m1/index.cnxml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    source = {"kind": "books", "name": "b", "paths": ["books"], "title": "T", "authors": ["A"]}
    stage = _stage(source)
    entries, rejects = _run(stage, context)
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("b:books/x/modules/m1/index.cnxml", Reason.PART_OF_ANOTHER)
    ]
    assert [(e.kind, e.file, e.split) for e in entries] == [
        ("epub", "books/a.epub", True),
        ("pdf", "books/b.pdf", True),
        ("text", "books/c.txt", True),
        ("openstax", "books/x/collection.xml", True),
    ]
    assert entries[0].meta == {"book": "T", "authors": ["A"]}
    before = entries[3].sha256
    (folder / "x/modules/m1/index.cnxml").write_text("changed")
    assert _run(stage, context)[0][3].sha256 != before


# --- Errors


def test_what_is_not_there_is_named_by_its_key(context: StageContext) -> None:
    with pytest.raises(InputError) as error:
        _stage(_files()).source_files(context)
    assert error.value.where == "corpus.sources.0.paths"
    papers = _papers(context.root, "0704.0001")
    _write(context.root, a="A")
    with pytest.raises(InputError, match="gone") as error:
        _stage(_files(), {**papers, "metadata": "gone"}).source_files(context)
    assert error.value.where == "corpus.sources.1.metadata"
    with pytest.raises(InputError) as error:
        _stage({**papers, "pdfs": "gone"}).source_names(context)
    assert error.value.where == "corpus.sources.0.pdfs"
    with pytest.raises(InputError) as error:
        _stage({**papers, "exclude_ids": ["gone.txt"]}).source_files(context)
    assert error.value.where == "corpus.sources.0.exclude_ids"
