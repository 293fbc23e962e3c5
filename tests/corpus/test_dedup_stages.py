from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from core.recipe.dedup import Dedup, DedupParagraphs
from core.rejects import Reason
from core.shards import read_shard, shard_name, write_shard
from core.stage import ShardResult, StageContext, Unit
from corpus.dedup import DedupClustersStage, DedupSignaturesStage, DedupStage
from corpus.dedup.clusters import CLUSTERS_NAME
from corpus.documents import Document, documents_table

WORDS = "star planet orbit dust disk gas light mass wind field ring tide comet core shell".split()  # noqa: SIM905


def _text(seed: int, words: int = 300) -> str:
    generator = random.Random(seed)
    return " ".join(f"{generator.choice(WORDS)}{generator.randrange(50)}" for _ in range(words))


def _edited(text: str, rate: float, seed: int = 0) -> str:
    generator = random.Random(seed)
    return " ".join("new" if generator.random() < rate else word for word in text.split(" "))


def _doc(doc_id: str, text: str, source: str = "a", **more: Any) -> Document:
    return Document(doc_id, source, text=text, **more)


class _Run:
    """Runs the three stages over shards of documents."""

    def __init__(self, folder: Path, dedup: Dedup, sources: Sequence[str] = ("a", "b")) -> None:
        self.ctx = StageContext(folder, folder, seed=1)
        self.signatures = DedupSignaturesStage(dedup, "corpus.normalize")
        self.clusters = DedupClustersStage(dedup, "corpus.dedup_signatures", sources)
        self.mask = DedupStage(dedup, "corpus.normalize", "corpus.dedup_clusters")

    def __call__(self, shards: Sequence[Sequence[Document]]) -> list[ShardResult]:
        units = [Unit(n, {"shard": shard_name(n)}, "") for n in range(len(shards))]
        for number, documents in enumerate(shards):
            path = self.ctx.folder("corpus.normalize") / shard_name(number)
            write_shard(path, documents_table(documents))
        for unit in units:
            result = self.signatures.process(unit, self.ctx)
            assert result.kept.schema.equals(self.signatures.schema)
            path = self.ctx.folder(self.signatures.name) / shard_name(unit.index)
            write_shard(path, result.kept)
        self.result = self.clusters.run(self.ctx, self.ctx.folder(self.clusters.name))
        results = [self.mask.process(unit, self.ctx) for unit in units]
        for result in results:
            assert result.rows_in == result.kept.num_rows + (result.rows_rejected or 0)
        return results

    def table(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = read_shard(
            self.ctx.folder(self.clusters.name) / CLUSTERS_NAME
        ).to_pylist()
        return rows


def _kept(results: Sequence[ShardResult]) -> list[str]:
    return [doc_id for result in results for doc_id in result.kept["doc_id"].to_pylist()]


def _rejects(results: Sequence[ShardResult]) -> dict[str, tuple[Reason, str]]:
    return {r.doc_id: (r.reason, r.detail) for result in results for r in result.rejected}


def test_equal_and_near_documents_go_and_rejects_name_who_stays(tmp_path: Path) -> None:
    text = _text(0)
    run = _Run(tmp_path, Dedup())
    results = run(
        [
            [_doc("3", text), _doc("9", _text(1))],
            [_doc("1", text.replace(" ", "\n")), _doc("2", _edited(text, 0.05))],
        ]
    )
    assert _kept(results) == ["9", "1"]
    rejects = _rejects(results)
    assert rejects["3"] == (Reason.EXACT_DUPLICATE, "same text as 1")
    assert rejects["2"][0] == Reason.NEAR_DUPLICATE
    assert rejects["2"][1].endswith("to 1")
    assert results[0].rejected[0].text == text
    rows = run.table()
    assert [(r["doc_id"], r["relation"], r["survivor"]) for r in rows] == [
        ("1", "kept", "1"),
        ("2", "near", "1"),
        ("3", "exact", "1"),
    ]
    assert {r["cluster"] for r in rows} == {0}
    assert 0.6 < rows[1]["similarity"] < 0.9
    assert run.result.metrics["exact_duplicates"] == run.result.metrics["near_duplicates"] == 1


def test_a_text_equal_to_a_removed_one_is_near_the_survivor(tmp_path: Path) -> None:
    text = _text(0)
    run = _Run(tmp_path, Dedup())
    results = run(
        [[_doc("1", text), _doc("2", _edited(text, 0.05)), _doc("3", _edited(text, 0.05))]]
    )
    assert _kept(results) == ["1"]
    assert [(r["relation"], r["survivor"]) for r in run.table()[1:]] == [("near", "1")] * 2


@pytest.mark.parametrize(
    ("priority", "sources", "survivor"),
    [
        ([], ["a", "b", "c"], "z"),
        ([], ["b", "a", "c"], "y"),
        (["c"], ["a", "b", "c"], "x"),
        (["c", "b"], ["a", "b", "c"], "x"),
        ([], ["c"], "x"),
        ([], [], "z"),  # unknown sources by name
    ],
)
def test_who_stays(tmp_path: Path, priority: list[str], sources: list[str], survivor: str) -> None:
    text = _text(0)
    docs = [_doc("z", text, "a"), _doc("y", _edited(text, 0.02), "b"), _doc("x", text + ".", "c")]
    assert _kept(_Run(tmp_path, Dedup(priority=priority), sources)([docs])) == [survivor]


def test_the_order_and_size_of_shards_change_nothing(tmp_path: Path) -> None:
    generator = random.Random(0)
    docs = []
    for family in range(40):
        text = _text(family, 120)
        for member in range(generator.randint(1, 4)):
            source = generator.choice("ab")
            shared = f"{_text(1000 + family % 3, 60)}\n\n{_edited(text, 0.03 * member, member)}"
            docs.append(_doc(f"{generator.randrange(10**6)}", shared, source))
    outcomes, tables = [], []
    for number, shards in enumerate((1, 3, 7)):
        generator.shuffle(docs)
        dedup = Dedup(paragraphs=DedupParagraphs(min_chars=50))
        run = _Run(tmp_path / str(number), dedup)
        results = run([docs[at::shards] for at in range(shards)])
        rows = [row for result in results for row in result.kept.to_pylist()]
        outcomes.append(sorted((row["doc_id"], row["text"]) for row in rows))
        tables.append((run.ctx.folder(run.clusters.name) / CLUSTERS_NAME).read_bytes())
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert tables[0] == tables[1] == tables[2]
    assert 30 < len(outcomes[0]) < len(docs)


def test_a_rerun_gives_the_same_bytes_and_leaves_no_work_behind(tmp_path: Path) -> None:
    docs = [_doc(str(n), _text(n % 5) + "\n\n" + _text(9, 50)) for n in range(20)]
    contents = []
    for name in ("one", "two"):
        run = _Run(tmp_path / name, Dedup(paragraphs=DedupParagraphs()))
        run([docs[:12], docs[12:]])
        folder = run.ctx.folder(run.clusters.name)
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
        contents.append(files)
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "clusters.parquet",
        *(f"{kind}/{shard_name(n)}" for kind in ("removed", "repeats") for n in (0, 1)),
    }


def test_repeated_paragraphs_are_cut_and_pages_follow(tmp_path: Path) -> None:
    stock, own, table = _text(0, 40), _text(1, 40), "| a | b |"
    text = f"# Two\n\n{own}\n\n{stock}\n\n{table}\n\nThe end."
    pages = [
        {"page": 1, "start_char": 0, "end_char": len(own) + 7, "method": "x", "quality": None},
        {"page": 2, "start_char": len(own) + 9, "end_char": len(text), "method": "x",
         "quality": None},
    ]  # fmt: skip
    run = _Run(tmp_path, Dedup(similarity=None, paragraphs=DedupParagraphs(min_chars=100)))
    results = run(
        [
            [_doc("2", text, pages=pages), _doc("3", f"{stock}\n\n{stock.replace(' ', chr(10))}")],
            [
                _doc("1", f"{table}\n\n{stock}"),
                _doc("4", f"{_text(5)}\n\n{_text(6)}\n\n{_text(5)}"),
            ],
        ]
    )
    kept = {row["doc_id"]: row for result in results for row in result.kept.to_pylist()}
    assert kept["2"]["text"] == f"# Two\n\n{own}\n\n{table}\n\nThe end."
    spans = [(p["start_char"], p["end_char"]) for p in kept["2"]["pages"]]
    assert spans == [(0, len(own) + 7), (len(own) + 9, len(kept["2"]["text"]))]
    assert kept["1"]["text"] == f"{table}\n\n{stock}"
    assert kept["4"]["text"] == f"{_text(5)}\n\n{_text(6)}"
    assert "3" not in kept
    found = [(r.doc_id, r.reason, r.detail) for result in results for r in result.rejected]
    assert found == [
        ("2", Reason.DUPLICATE_PARAGRAPH, "paragraph 2: stands in 1"),
        ("3", Reason.DUPLICATE_PARAGRAPH, "paragraph 0: stands in 1"),
        ("3", Reason.DUPLICATE_PARAGRAPH, "paragraph 1: stands in 1"),
        ("3", Reason.EMPTY_TEXT, "every paragraph stands in another document"),
        (
            "4",
            Reason.DUPLICATE_PARAGRAPH,
            "paragraph 2: stands in an earlier place of this document",
        ),
    ]
    assert results[0].rejected[0].text == stock


def test_a_removed_document_keeps_no_paragraph(tmp_path: Path) -> None:
    shared, text = _text(0, 60), _text(1)
    run = _Run(tmp_path, Dedup(paragraphs=DedupParagraphs(min_chars=100)))
    results = run([[_doc("1", text), _doc("2", text), _doc("3", f"{_text(2, 500)}\n\n{shared}")]])
    assert _kept(results) == ["1", "3"]
    assert all(r.reason != Reason.DUPLICATE_PARAGRAPH for r in results[0].rejected)


def test_similar_texts_stay_where_only_equal_ones_go(tmp_path: Path) -> None:
    text = _text(0)
    run = _Run(tmp_path, Dedup(similarity=None))
    results = run([[_doc("1", text), _doc("2", _edited(text, 0.01)), _doc("3", text)]])
    assert _kept(results) == ["1", "2"]
    signed = read_shard(run.ctx.folder(run.signatures.name) / shard_name(0))
    assert signed["signature"].null_count == 3


def test_texts_without_words_resemble_nothing(tmp_path: Path) -> None:
    run = _Run(tmp_path, Dedup())
    results = run([[_doc("1", "?!"), _doc("2", "..."), _doc("3", "?!"), _doc("4", "one")], []])
    assert _kept(results) == ["1", "2", "4"]
    assert run([[]])[0].kept.num_rows == 0


def test_the_same_id_twice_is_two_documents(tmp_path: Path) -> None:
    text = _text(0)
    results = _Run(tmp_path, Dedup())([[_doc("1", _edited(text, 0.03)), _doc("1", text)]])
    assert results[0].kept["text"].to_pylist() == [_edited(text, 0.03)]


def test_the_threshold_signs_nothing_again() -> None:
    stages = [DedupSignaturesStage(Dedup(similarity=s), "x").config() for s in (0.5, 0.8, None)]
    assert stages[0] == stages[1] != stages[2]
    clusters = [DedupClustersStage(Dedup(similarity=s), "x", ["a"]).config() for s in (0.5, 0.8)]
    assert clusters[0] != clusters[1]
    assert (
        DedupClustersStage(Dedup(priority=["b"]), "x", ["a", "b"]).config()
        == DedupClustersStage(Dedup(), "x", ["b", "a"]).config()
    )


def test_a_priority_names_each_source_once() -> None:
    with pytest.raises(ValidationError, match="listed twice"):
        Dedup(priority=["a", "a"])


def test_the_clusters_are_a_plain_parquet_table(tmp_path: Path) -> None:
    run = _Run(tmp_path, Dedup())
    run([[_doc("1", _text(0)), _doc("2", _text(0))]])
    table: pa.Table = pq.read_table(run.ctx.folder(run.clusters.name) / CLUSTERS_NAME)
    assert table.column_names == [
        "cluster", "doc_id", "source", "chars", "relation", "survivor", "similarity"
    ]  # fmt: skip
