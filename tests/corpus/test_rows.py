"""Tables of documents, from the recipe's section to rows of ingest."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.recipe.corpus import Corpus
from core.rejects import Reason, Reject
from core.shards import shard_name, write_shard
from core.sources import SourceIndex
from core.stage import ShardStage, StageContext
from corpus import rows
from corpus.catalog import CatalogStage
from corpus.ingest import IngestStage


def _read(ctx: StageContext, **section: Any) -> tuple[list[dict[str, Any]], list[Reject], int]:
    """Returns documents, rejects and the number of ingest's shards."""
    source = {"kind": "rows", "name": "table", "paths": ["data"], **section}
    corpus = Corpus.model_validate({"sources": [source], "documents_per_shard": 2})
    rejects: list[Reject] = []
    found: list[dict[str, Any]] = []
    shards = 0
    stages: list[ShardStage] = [CatalogStage(corpus, None), IngestStage(corpus, "corpus.catalog")]
    for stage in stages:
        units = stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))
        shards, found = len(units), []
        for unit in units:
            result = stage.process(unit, ctx)
            assert result.rows_in == result.kept.num_rows + len(result.rejected)
            write_shard(ctx.folder(stage.name) / shard_name(unit.index), result.kept)
            found += result.kept.to_pylist()
            rejects += result.rejected
    return found, rejects, shards


def _lines(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_a_document_per_row(context: StageContext) -> None:
    facts = {
        "title": " Rings ",
        "license": "CC0-1.0",
        "created": "2014-04-24T13:00:00Z",
        "url": "https://example.org/1",
        "id": 7,
        "language": "en",
        "other": "not kept",
    }
    _lines(context.root / "data/a.jsonl", {"text": "Of rings.", **facts}, {"text": "Bare."})
    _lines(context.root / "data/deeper/b.jsonl.gz", {"text": "Zipped."})
    (first, second, third), rejects, _ = _read(context, license="CC-BY-4.0")
    assert rejects == []
    assert (first["title"], first["license"]) == ("Rings", "CC0-1.0")
    assert (first["created"], first["url"]) == (date(2014, 4, 24), "https://example.org/1")
    meta = json.loads(first["meta"])
    assert meta.pop("sha256")
    assert meta == {"id": 7, "language": "en", "file": "data/a.jsonl"}
    assert (second["text"], second["title"], second["license"]) == ("Bare.", None, "CC-BY-4.0")
    assert third["text"] == "Zipped."
    assert len({row["doc_id"] for row in (first, second, third)}) == 3


def test_parquet_of_any_types(context: StageContext) -> None:
    day = datetime(2020, 5, 1, 12, tzinfo=UTC)
    table = pa.table(
        {
            "abstract": ["One.", None, "Three."],
            "created": [day, None, day],
            "id": [[1, 2], [], None],
            "score": [float("nan"), 1.0, 0.5],
            "raw": [b"\xff", b"", b"x"],
        }
    )
    (context.root / "data").mkdir(parents=True)
    pq.write_table(table, context.root / "data/a.parquet")
    found, (reject,), _ = _read(
        context, text_column="abstract", meta_columns=["id", "score", "raw", "absent"]
    )
    assert [row["text"] for row in found] == ["One.", "Three."]
    assert [row["created"] for row in found] == [date(2020, 5, 1)] * 2
    metas = [json.loads(row["meta"]) for row in found]
    assert [meta["score"] for meta in metas] == ["nan", 0.5]
    assert (metas[0]["id"], metas[0]["raw"]) == ("[1, 2]", "\ufffd")
    assert (reject.reason, reject.doc_id) == (Reason.EMPTY_TEXT, "table@data/a.parquet:1")


def test_a_large_file_is_several_shards(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [{"text": f"Star number {n}. " * 20} for n in range(200)]
    _lines(context.root / "data/a.jsonl", *texts)
    pq.write_table(pa.Table.from_pylist(texts[:150]), context.root / "data/b.parquet")
    whole, rejects, shards = _read(context)
    assert (len(whole), rejects, shards) == (350, [], 2)
    monkeypatch.setattr(rows, "_SPAN_BYTES", 7000)
    cut, rejects, shards = _read(context)
    assert shards > 8
    assert rejects == []
    # The ids too: they do not hang on how a file is cut.
    assert cut == whole


@pytest.mark.parametrize("changed", [{"text_column": "body"}, {"meta_columns": ["n"]}])
def test_other_columns_make_the_documents_stale(
    context: StageContext, changed: dict[str, Any]
) -> None:
    _lines(context.root / "data/a.jsonl", {"text": "One.", "body": "Two.", "n": 1})
    digests = []
    for section in ({}, changed):
        _read(context, **section)
        source = {"kind": "rows", "name": "table", "paths": ["data"], **section}
        stage = IngestStage(Corpus.model_validate({"sources": [source]}), "corpus.catalog")
        (unit,) = stage.plan(context, SourceIndex(context.root, context.run_dir / "s.json"))
        digests.append(unit.digest)
    assert digests[0] != digests[1]


def test_what_cannot_be_read_is_a_reject(context: StageContext) -> None:
    good = _lines(context.root / "data/a.jsonl", {"text": "Good."}, ["no object"], {"body": "?"})
    (context.root / "data/b.parquet").write_bytes(b"PAR1 and no more")
    (context.root / "data/c.jsonl").write_bytes(good.read_bytes())
    (document,), rejects, _ = _read(context)
    assert document["text"] == "Good."
    assert [(r.reason, r.detail.split()[0]) for r in rejects] == [
        (Reason.DUPLICATE_ID, "data/c.jsonl"),
        (Reason.MALFORMED_RECORD, "not"),
        (Reason.MALFORMED_RECORD, "no"),
        (Reason.UNREADABLE_FILE, "data/b.parquet"),
    ]


def test_a_wrong_column_is_said_before_anything_is_read(context: StageContext) -> None:
    (context.root / "data").mkdir(parents=True)
    pq.write_table(pa.table({"content": ["x"]}), context.root / "data/a.parquet")
    with pytest.raises(InputError, match="no text column 'text' among: content") as error:
        _read(context)
    assert "corpus.sources.0.text_column" in error.value.remedy
