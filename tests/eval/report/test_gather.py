"""What the report reads: counted right, in bounded memory, whatever the files hold."""

from __future__ import annotations

import json
import tracemalloc
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from core.rejects import Reason, Reject, rejects_table
from core.schema import DOCUMENT
from core.shards import shard_name, write_shard
from core.stage import StageContext
from eval.report.gather.corpus import composition, perplexity_histogram
from eval.report.gather.files import clip, finite, json_lines, json_object, spread
from eval.report.gather.rejects import read_samples
from eval.report.gather.training import read_curve


def put_documents(folder: Path, shards: int, rows: int) -> None:
    table = pa.Table.from_pylist(
        [
            {
                "doc_id": f"d{i}",
                "source": ("b", "a")[i % 2],
                "text": "x" * (10 + 980 * (i % 2)),
                "license": (None, "http://creativecommons.org/licenses/by/4.0/")[i % 2],
                "created": None if i % 4 == 0 else date(2010 + i % 4, 1, i % 28 + 1),
            }
            for i in range(rows)
        ],
        schema=DOCUMENT,
    )
    for index in range(shards):
        write_shard(folder / shard_name(index), table)


def test_composition_adds_up_over_shards(tmp_path: Path) -> None:
    put_documents(tmp_path, 3, 8)
    sources, years = composition(tmp_path)
    assert [(s.name, s.documents, s.chars) for s in sources] == [("a", 12, 11880), ("b", 12, 120)]
    assert sum(s.share for s in sources) == pytest.approx(1)
    assert [s.stated for s in sources] == [[("cc-by-4.0", 12)], [("not stated", 12)]]
    assert (sources[0].first, sources[0].last) == ("2011-01-02", "2013-01-08")
    assert years == {2011: 6, 2012: 6, 2013: 6}


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    peaks = []
    for name, shards in (("small", 2), ("large", 24)):
        put_documents(tmp_path / name, shards, 1000)
        before = pa.default_memory_pool().max_memory()
        tracemalloc.start()
        composition(tmp_path / name)
        peaks.append((tracemalloc.get_traced_memory()[1], before))
        tracemalloc.stop()
    (small, _), (large, arrow_small) = peaks
    assert large < 1.5 * small + 100_000
    # Twelve times the documents: Arrow's highest mark, too, stays where it was.
    assert pa.default_memory_pool().max_memory() <= 1.5 * arrow_small + 2_000_000


def test_histogram_counts_every_paragraph(half_run: StageContext) -> None:
    histogram = perplexity_histogram(half_run.folder("corpus.perplexity_score"), None)
    assert histogram is not None
    assert (histogram.scored, histogram.unscored) == (3060, 40)
    assert sum(histogram.counts) == 3060
    assert len(histogram.edges) == len(histogram.counts) + 1
    assert histogram.counts[0] > 0
    assert histogram.counts[-1] > 0


def test_long_curves_are_averaged(tmp_path: Path) -> None:
    line = '{"step": %d, "loss": %d, "learning_rate": 0.1}\n'
    text = "".join(line % (i, i) for i in range(1, 4001)) + '{"step": 4001, "lo'
    (tmp_path / "metrics.jsonl").write_text(text)
    curve = read_curve("train.cpt", tmp_path)
    assert curve is not None
    assert (len(curve.steps), curve.last_step) == (400, 4000)
    assert curve.loss[0] == pytest.approx(5.5)
    assert curve.steps[-1] == pytest.approx(3995.5)
    assert set(curve.values) == {"loss", "learning_rate"}
    assert curve.tokens_per_s is None
    assert read_curve("train.cpt", tmp_path / "none") is None


def test_curve_with_bad_lines(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "loss": 2.0, "learning_rate": 0.1, "update_norm": 1.0},
        {"step": 2, "loss": float("nan"), "learning_rate": 0.1, "update_norm": 1.0},
        {"step": 3, "loss": 1.0, "learning_rate": 0.1},
        ["not an object"],
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    (tmp_path / "spikes.json").write_text('{"not": "a list"}')
    curve = read_curve("train.cpt", tmp_path)
    assert curve is not None
    assert curve.loss == [2.0, 1.0]
    # A step lacks its update norm: no curve is drawn of it.
    assert "update_norm" not in curve.values
    assert curve.spikes == []


def test_reject_samples_of_every_reason(tmp_path: Path) -> None:
    common = [Reject(f"a{i}", Reason.LOW_SCORE, "d", "t" * 999) for i in range(600)]
    rare = [Reject("b", Reason.NO_TITLE, "only one")]
    write_shard(tmp_path / shard_name(0), rejects_table("s", common + rare))
    samples = read_samples(tmp_path, {"low_score", "no_title"})
    assert {reason: len(rows) for reason, rows in samples.items()} == {
        "low_score": 2,
        "no_title": 1,
    }
    assert samples["no_title"][0] == {"doc_id": "b", "detail": "only one", "text": ""}
    assert len(samples["low_score"][0]["text"]) < 300
    assert read_samples(tmp_path / "none", {"x"}) == {}


def test_files_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in (b"\xff\xfe", b"{", b"[" * 100_000, b"[1]"):
        path.write_bytes(content)
        assert json_object(path) == {}
    assert json_object(tmp_path / "none") == {}
    assert list(json_lines(tmp_path / "none")) == []


def test_small_helpers() -> None:
    assert [finite(v) for v in (1, 2.5, True, "3", None, float("inf"))] == [
        1.0,
        2.5,
        None,
        None,
        None,
        None,
    ]
    assert clip(" ab ", 5) == "ab"
    assert clip("abcdef", 3) == "abc …"
    assert spread(range(10), 3) == [0, 3, 6]
