"""Replay from files to token sequences, through all four stages."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from core.errors import InputError
from core.hashing import sha256_file
from core.manifest import FileEntry, Manifest
from core.recipe.packing import Strategy
from core.recipe.replay import Replay
from core.runner.commit import process_unit
from core.schema import DOCUMENT, token_sequence
from core.shards import read_shard, shard_paths, write_shard
from core.sources import SourceIndex
from core.stage import JobStage, ShardStage, StageContext
from corpus import replay_plan, replay_sources
from corpus.replay import EPOCH, ReplayPlanStage, ReplayStage
from corpus.replay_plan import load_plan
from corpus.replay_sources import ReplayDocumentsStage, ReplayIndexStage

LENGTH = 64
CORPUS_TOKENS = 40_000
WORDS = [
    "star",
    "sun",
    "moon",
    "ring",
    "page",
    "site",
    "click",
    "news",
    "of",
    "the",
    "a",
    "and",
    "to",
    "in",
    "price",
    "city",
    "ball",
    "team",
]


def _texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [
        f"Number {n}: " + " ".join(rng.choices(WORDS, k=rng.randrange(5, 60))) for n in range(count)
    ]


def _write(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"text": text, "id": f"<urn:uuid:{n}>"} for n, text in enumerate(texts)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=50)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_stage(ctx: StageContext, stage: ShardStage | JobStage) -> Manifest:
    """Does a stage's work here, without Ray, in any order of units."""
    folder = ctx.folder(stage.name)
    folder.mkdir(parents=True, exist_ok=True)
    result: Any
    if isinstance(stage, ShardStage):
        units = stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))
        receipts = {unit.index: process_unit(stage, ctx, unit) for unit in reversed(units)}
        results = [receipts[index] for index in sorted(receipts)]
        files = [entry for receipt in results for entry in receipt.files]
        names = {name for receipt in results for name in receipt.metrics}
        metrics = {n: sum(r.metrics.get(n, 0) for r in results) for n in sorted(names)}
        rejects = {r.index: r.rejects for r in results if r.rejects}
    else:
        result = stage.run(ctx, folder)
        results, metrics, rejects = [result], result.metrics, {}
        paths = [p for p in folder.glob("*.json") if p.name != "manifest.json"]
        files = [FileEntry(p.name, p.stat().st_size, sha256_file(p)) for p in paths]
    manifest = Manifest(
        stage=stage.name,
        code_version=1,
        config=stage.config(),
        seed=ctx.seed,
        inputs={},
        input_digests={},
        sources_digest="",
        fingerprint="",
        key="",
        files=files,
        row_unit=stage.row_unit,
        rows_in=sum(r.rows_in for r in results),
        rows_out=sum(r.rows_out for r in results),
        rows_rejected=sum(sum(counts.values()) for counts in rejects.values()),
        rejects={k: v for counts in rejects.values() for k, v in counts.items()},
        metrics=metrics,
    )
    manifest.save(folder)
    return manifest


class _Run:
    """A run of all four stages; what they made is read back from disk."""

    def __init__(
        self,
        ctx: StageContext,
        tokenizer: Path,
        epochs: float = 2.5,
        strategy: Strategy = "concat",
        corpus_tokens: int = CORPUS_TOKENS,
        **section: Any,
    ) -> None:
        self.ctx = ctx
        self.section = Replay(**{"paths": ["web"], "name": "web", "share": 0.2, **section})
        tokens = Manifest(
            "corpus.tokens", 1, {}, 1, {}, {}, "", "", "", [], "document", 0, 0, 0,
            metrics={"tokens": corpus_tokens},
        )  # fmt: skip
        ctx.folder("corpus.tokens").mkdir(parents=True)
        tokens.save(ctx.folder("corpus.tokens"))
        model, stages = str(tokenizer), ("corpus.replay_documents", "corpus.replay_plan")
        self.stages: list[ShardStage | JobStage] = [
            ReplayIndexStage(self.section, model),
            ReplayPlanStage(self.section, "corpus.replay_index", "corpus.tokens", model, epochs),
            ReplayDocumentsStage(self.section, "corpus.replay_plan"),
            ReplayStage(*stages, model, LENGTH, strategy),
        ]
        self.manifests = {stage.name: run_stage(ctx, stage) for stage in self.stages}

    @property
    def tokens(self) -> Manifest:
        return self.manifests["corpus.replay"]

    def shards(self) -> list[bytes]:
        return [p.read_bytes() for p in shard_paths(self.ctx.folder("corpus.replay"))]

    def sequences(self) -> list[dict[str, Any]]:
        tables = [read_shard(p) for p in shard_paths(self.ctx.folder("corpus.replay"))]
        return [row for table in tables for row in table.to_pylist()]

    def documents_of(self, epoch: int) -> list[str]:
        rows = [row for row in self.sequences() if row["epoch"] == epoch]
        found = [s["doc_id"] for row in rows for s in row["spans"] if s["doc_start_token"] == 0]
        return found


def _context(root: Path, seed: int = 1) -> StageContext:
    return StageContext(root / "run", root, seed)


def test_each_epoch_has_its_own_text_in_the_right_amount(tmp_path: Path, tiny_folder: Path) -> None:
    texts = _texts(1500)
    _write(tmp_path / "web" / "a.parquet", texts)
    run = _Run(_context(tmp_path), tiny_folder)
    epochs = [run.documents_of(epoch) for epoch in range(3)]
    for a, b in itertools.combinations(epochs, 2):
        assert not set(a) & set(b)
    assert all(len(set(e)) == len(e) > 10 for e in epochs)

    # 20% of all tokens: a quarter of the corpus's; half of that in the half epoch.
    for epoch, budget in enumerate([10_000, 10_000, 5_000]):
        assert run.tokens.metrics[f"epoch {epoch}/tokens"] == pytest.approx(budget, rel=0.05)
    rows = run.sequences()
    assert [row["epoch"] for row in rows] == sorted(row["epoch"] for row in rows)

    # Every token leads back to the text.
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    documents = pa.concat_tables(
        read_shard(p) for p in shard_paths(run.ctx.folder("corpus.replay_documents"))
    )
    assert documents.schema == DOCUMENT
    by_id = {row["doc_id"]: row for row in documents.to_pylist()}
    assert {row["text"] for row in by_id.values()} <= set(texts)
    assert all(json.loads(row["meta"])["file"] == "web/a.parquet" for row in by_id.values())
    whole: dict[str, list[int]] = {}
    for row in rows:
        for span in row["spans"]:
            ids = row["input_ids"][span["start"] : span["start"] + span["length"]]
            whole.setdefault(span["doc_id"], []).extend(ids)
    assert set(whole) == set(by_id)
    for doc_id, ids in whole.items():
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[1:-1]) == by_id[doc_id]["text"]


def test_the_bytes_do_not_depend_on_files_spans_or_order(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = _texts(600)
    _write(tmp_path / "one" / "web" / "a.parquet", texts)
    one = _Run(_context(tmp_path / "one"), tiny_folder)

    random.Random(5).shuffle(texts)
    other = tmp_path / "other"
    _write(other / "web" / "z" / "1.jsonl", texts[:150])
    _write(other / "web" / "b.parquet", texts[150:400])
    _write(other / "web" / "c.jsonl", texts[400:])
    monkeypatch.setattr(replay_sources, "SPAN_BYTES", 5000)
    many = _Run(_context(other), tiny_folder)
    assert len(many.manifests["corpus.replay_index"].shards) > 10
    assert many.shards() == one.shards()

    for seed, expected in ((1, True), (2, False)):
        ctx = replace(many.ctx, run_dir=tmp_path / f"seed-{seed}", seed=seed)
        assert (_Run(ctx, tiny_folder).shards() == one.shards()) is expected


def test_parts_of_an_epoch_are_shards(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(800))
    whole = _Run(_context(tmp_path), tiny_folder)
    assert len(whole.shards()) == 3
    monkeypatch.setattr(replay_plan, "PART_TOKENS", 2000)
    monkeypatch.setattr(ReplayDocumentsStage, "row_group_rows", 10)
    parts = _Run(replace(whole.ctx, run_dir=tmp_path / "parts"), tiny_folder)
    assert len(parts.shards()) == 13
    for epoch in range(3):
        assert parts.documents_of(epoch) == whole.documents_of(epoch)


def test_the_same_text_twice_is_used_once(tmp_path: Path, tiny_folder: Path) -> None:
    texts = _texts(400)
    _write(tmp_path / "web" / "a.jsonl", texts)
    once = _Run(_context(tmp_path), tiny_folder)
    _write(tmp_path / "web" / "b.parquet", texts[::-1])
    _write(tmp_path / "web" / "c.jsonl", texts[:200] * 2)
    thrice = _Run(replace(once.ctx, run_dir=tmp_path / "thrice"), tiny_folder)
    assert thrice.shards() == once.shards()
    assert thrice.tokens.rejects["duplicate_id"] > 0
    assert thrice.tokens.rows_in == thrice.tokens.rows_out + thrice.tokens.rows_rejected
    assert thrice.tokens.rows_out == once.tokens.rows_out


def test_malformed_rows_are_rejects_of_the_index(tmp_path: Path, tiny_folder: Path) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(400))
    good = _Run(_context(tmp_path), tiny_folder)
    with (tmp_path / "web" / "a.jsonl").open("a") as f:
        f.write('nonsense\n{"text": 5}\n{"text": ""}\n')
    bad = _Run(replace(good.ctx, run_dir=tmp_path / "bad"), tiny_folder)
    index = bad.manifests["corpus.replay_index"]
    assert index.rejects == {"malformed_record": 2, "empty_text": 1}
    assert (index.rows_in, index.rows_out) == (403, 400)
    assert bad.shards() == good.shards()


def test_running_out_is_an_error(tmp_path: Path, tiny_folder: Path) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(100))
    with pytest.raises(InputError, match=r"2.5 epochs need about 25,000 .* about 1\d,"):
        _Run(_context(tmp_path), tiny_folder)


def test_or_starts_over(
    tmp_path: Path, tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(100))
    run = _Run(_context(tmp_path), tiny_folder, when_exhausted="repeat")
    assert "documents are seen again" in caplog.text
    assert run.manifests["corpus.replay_plan"].metrics["passes"] > 1
    for epoch, budget in enumerate([10_000, 10_000, 5_000]):
        assert run.tokens.metrics[f"epoch {epoch}/tokens"] == pytest.approx(budget, rel=0.05)
    counts = {doc: 0 for epoch in range(3) for doc in run.documents_of(epoch)}
    for epoch in range(3):
        for doc in run.documents_of(epoch):
            counts[doc] += 1
    assert len(counts) == 100
    # Evenly: nothing is seen three times before all was seen twice.
    assert max(counts.values()) - min(counts.values()) <= 1


def test_no_text_is_an_error(tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.jsonl").write_text("nonsense\n")
    with pytest.raises(InputError, match="there is no general text to replay"):
        _Run(_context(tmp_path), tiny_folder)
    with pytest.raises(InputError, match="no file found for 'nowhere'"):
        _Run(_context(tmp_path / "b"), tiny_folder, paths=["nowhere"])


def test_a_stage_between_may_drop_and_edit_documents(tmp_path: Path, tiny_folder: Path) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(500))
    run = _Run(_context(tmp_path), tiny_folder)
    ctx = run.ctx
    for path in shard_paths(ctx.folder("corpus.replay_documents")):
        rows = [r for r in read_shard(path).to_pylist() if "ball" not in r["text"]]
        for row in rows:
            row["text"] = row["text"].replace("star", "sun")
        table = pa.Table.from_pylist(rows, schema=DOCUMENT)
        write_shard(ctx.folder("corpus.clean") / path.name, table)
    manifest = Manifest.require(ctx.folder("corpus.replay_documents"), "")
    manifest.save(ctx.folder("corpus.clean"))
    before = [run.documents_of(epoch) for epoch in range(3)]
    stage = ReplayStage("corpus.clean", "corpus.replay_plan", str(tiny_folder), LENGTH)
    run_stage(ctx, stage)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    text = tokenizer.decode([t for row in run.sequences() for t in row["input_ids"]])
    assert "ball" not in text
    assert "star" not in text
    for epoch in range(3):
        after = run.documents_of(epoch)
        assert after == [doc for doc in before[epoch] if doc in set(after)]


def test_best_fit_packs_the_same_documents(tmp_path: Path, tiny_folder: Path) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(500))
    concat = _Run(_context(tmp_path), tiny_folder)
    best = _Run(replace(concat.ctx, run_dir=tmp_path / "best"), tiny_folder, strategy="best_fit")
    assert best.tokens.metrics["tokens"] == concat.tokens.metrics["tokens"]
    assert best.tokens.metrics["runs_cut"] < concat.tokens.metrics["runs_cut"]
    for epoch in range(3):
        assert sorted(best.documents_of(epoch)) == sorted(concat.documents_of(epoch))


def test_what_the_fingerprints_follow(context: StageContext, tiny_folder: Path) -> None:
    section, model = Replay(paths=["web"]), "train.base"

    def digests(section: Replay, epochs: float = 2.0, length: int = LENGTH) -> list[str]:
        stages: list[ShardStage | JobStage] = [
            ReplayIndexStage(section, model),
            ReplayPlanStage(section, "corpus.replay_index", "corpus.tokens", model, epochs),
            ReplayDocumentsStage(section, "corpus.replay_plan"),
            ReplayStage("corpus.replay_documents", "corpus.replay_plan", model, length),
        ]
        return [stage.config_digest(context) for stage in stages]

    def changed(**update: Any) -> list[bool]:
        return [
            a != b for a, b in zip(base, digests(**{"section": section, **update}), strict=True)
        ]

    base = digests(section)
    assert changed() == [False] * 4
    assert changed(epochs=3.0) == [False, True, False, False]
    assert changed(length=32) == [False, False, False, True]
    assert changed(section=Replay(paths=["web"], share=0.1)) == [False, True, False, False]
    assert changed(section=Replay(paths=["web"], license="x")) == [False, False, True, False]
    assert changed(section=Replay(paths=["other"])) == [True, False, True, False]

    index = ReplayIndexStage(section, model)
    plan = ReplayPlanStage(section, index.name, "corpus.tokens", model, 1)
    last = ReplayStage("corpus.replay_documents", plan.name, model, LENGTH)
    assert index.inputs == (model,)
    assert plan.inputs == (index.name, "corpus.tokens", model)
    assert ReplayDocumentsStage(section, plan.name).inputs == (plan.name,)
    assert last.inputs == ("corpus.replay_documents", plan.name, model)
    assert last.schema == token_sequence(LENGTH).append(EPOCH)


def test_the_plan_is_written_for_people_too(tmp_path: Path, tiny_folder: Path) -> None:
    _write(tmp_path / "web" / "a.jsonl", _texts(500))
    run = _Run(_context(tmp_path), tiny_folder, epochs=1.5)
    plan = load_plan(run.ctx, "corpus.replay_plan")
    assert plan.budget_tokens == [10_000, 5_000]
    assert plan.documents == 500
    assert 0 < plan.passes < 1
    metrics = run.manifests["corpus.replay_plan"].metrics
    assert metrics["planned_tokens"] == pytest.approx(plan.budget_tokens, rel=0.05)
    assert metrics["corpus_tokens"] == CORPUS_TOKENS
