from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.recipe.corpus import Corpus
from core.rejects import Reason
from core.schema import DOCUMENT
from core.sources import SourceIndex
from core.stage import ShardResult, StageContext, Unit
from corpus.ingest import IngestStage


def _stage(*sources: dict[str, Any], per_shard: int = 2) -> IngestStage:
    corpus = Corpus.model_validate({"sources": list(sources), "documents_per_shard": per_shard})
    return IngestStage(corpus)


def _markdown(**changes: Any) -> dict[str, Any]:
    return {"kind": "markdown", "name": "notes", "paths": ["notes"], **changes}


def _plan(stage: IngestStage, ctx: StageContext) -> list[Unit]:
    return stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))


def _ingest(stage: IngestStage, ctx: StageContext) -> list[ShardResult]:
    results = [stage.process(unit, ctx) for unit in _plan(stage, ctx)]
    for result in results:
        assert result.kept.schema == DOCUMENT
        assert result.rows_in == result.kept.num_rows + len(result.rejected)
    return results


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / "notes" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _write_papers(root: Path, *identifiers: str) -> dict[str, Any]:
    lines = [
        json.dumps({"id": i, "title": i, "categories": "astro-ph.GA"}) + "\n" for i in identifiers
    ]
    (root / "meta.jsonl").write_text("".join(lines))
    (root / "pdf").mkdir()
    for identifier in set(identifiers):
        (root / "pdf" / f"{identifier}.pdf").write_bytes(b"%PDF")
    return {"kind": "arxiv", "metadata": "meta.jsonl", "pdfs": "pdf"}


def test_files_and_papers_one_source_after_the_other(context: StageContext) -> None:
    _write(context.root, a="A", b="B", c="C")
    papers = _write_papers(context.root, "0704.0001", "0704.0002", "0704.0003")
    stage = _stage(_markdown(), papers)
    units = _plan(stage, context)
    assert [u.index for u in units] == [0, 1, 2, 3]
    assert len({u.digest for u in units}) == 4
    results = _ingest(stage, context)
    assert [r.kept["title"].to_pylist() for r in results] == [
        ["a", "b"],
        ["c"],
        ["0704.0001", "0704.0002"],
        ["0704.0003"],
    ]
    assert results[0].kept["text"].to_pylist() == ["A", "B"]
    assert results[2].kept["text"].to_pylist() == [None, None]
    assert sum(len(r.rejected) for r in results) == 0


def test_the_plan_depends_on_content_not_on_time(context: StageContext) -> None:
    _write(context.root, a="A", b="B", c="C")
    stage = _stage(_markdown())
    first = _plan(stage, context)
    assert _plan(stage, context) == first
    _write(context.root, c="changed")
    second = _plan(stage, context)
    assert second[0] == first[0]
    assert second[1].digest != first[1].digest


def test_a_new_pdf_changes_the_papers_units(context: StageContext) -> None:
    papers = _write_papers(context.root, "0704.0001")
    before = _plan(_stage(papers), context)
    (context.root / "pdf" / "0704.0001v2.pdf").write_bytes(b"%PDF")
    assert _plan(_stage(papers), context)[0].digest != before[0].digest


def test_the_same_bytes_twice_are_a_duplicate_in_any_shard_or_source(
    context: StageContext,
) -> None:
    _write(context.root, a="A", b="B", c="A", d="D", e="A")
    (context.root / "other").mkdir()
    (context.root / "other" / "x.md").write_text("D")
    results = _ingest(_stage(_markdown(), _markdown(name="other", paths=["other"])), context)
    titles = [t for r in results for t in r.kept["title"].to_pylist()]
    assert titles == ["a", "b", "d"]
    rejects = [reject for r in results for reject in r.rejected]
    assert {r.reason for r in rejects} == {Reason.DUPLICATE_ID}
    assert [r.detail for r in rejects] == [
        "notes/c.md has the same bytes as notes/a.md",
        "notes/e.md has the same bytes as notes/a.md",
        "other/x.md has the same bytes as notes/d.md",
    ]


def test_a_paper_listed_twice_in_a_shard_is_a_duplicate(context: StageContext) -> None:
    papers = _write_papers(context.root, "0704.0001", "0704.0001", "0704.0002")
    (result,) = _ingest(_stage(papers, per_shard=9), context)
    assert result.kept["doc_id"].to_pylist() == ["arxiv:0704.0001", "arxiv:0704.0002"]
    (reject,) = result.rejected
    assert (reject.doc_id, reject.reason) == ("arxiv:0704.0001", Reason.DUPLICATE_ID)


def test_a_shard_of_which_nothing_is_kept(context: StageContext) -> None:
    papers = _write_papers(context.root, "0704.0001")
    (context.root / "meta.jsonl").write_bytes(b'{"id": 5}\nnonsense\n\xff\n\n{"id":"0704.0001"}')
    (result,) = _ingest(_stage(papers, per_shard=9), context)
    assert result.kept.num_rows == 0
    assert Counter(r.reason for r in result.rejected) == {
        Reason.MALFORMED_RECORD: 2,
        Reason.INVALID_UTF8: 1,
        Reason.EXCLUDED_CATEGORY: 1,
    }
    assert result.rejected[0].doc_id == "meta.jsonl@0"


def test_source_files_are_all_files_of_all_sources(context: StageContext) -> None:
    _write(context.root, a="A")
    papers = _write_papers(context.root, "0704.0001")
    names = [p.name for p in _stage(_markdown(), papers).source_files(context)]
    assert names == ["a.md", "meta.jsonl", "0704.0001.pdf"]


def test_what_is_not_there_is_named_by_its_key(context: StageContext) -> None:
    with pytest.raises(InputError) as error:
        _stage(_markdown()).source_files(context)
    assert error.value.where == "corpus.sources.0.paths"
    papers = _write_papers(context.root, "0704.0001")
    _write(context.root, a="A")
    with pytest.raises(InputError, match="no metadata file 'gone'") as error:
        _stage(_markdown(), {**papers, "metadata": "gone"}).source_files(context)
    assert error.value.where == "corpus.sources.1.metadata"
    with pytest.raises(InputError) as error:
        _stage({**papers, "pdfs": "gone"}).source_files(context)
    assert error.value.where == "corpus.sources.0.pdfs"


def test_the_config_holds_what_the_output_depends_on() -> None:
    assert _stage(_markdown()).config() == {
        "sources": [{"kind": "markdown", "name": "notes", "paths": ["notes"], "license": None}],
        "documents_per_shard": 2,
    }
    window = {"kind": "arxiv", "metadata": "m", "pdfs": "p"}
    json.dumps(_stage(window).config())
