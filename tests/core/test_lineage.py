from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import InputError, UsageError
from core.lineage import find_row, follow, open_stage, read_sequence, run_folder, sequences_with
from core.schema import token_sequence
from tests.made_run import documents, make_corpus, put_stage


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run up to ``corpus.normalize``, with sequences of four tokens in two shards."""
    run = tmp_path / "run"
    make_corpus(run)
    put_stage(run, "train.base")
    put_stage(
        run,
        "corpus.tokens",
        [packed("a", "a", "a"), packed("b", "a")],
        inputs=["corpus.normalize", "train.base"],
    )
    return run


def packed(*names: str) -> pa.Table:
    rows = [
        {
            "input_ids": [n] * 4,
            "loss_mask": [0, 1, 1, 0],
            "position_ids": [0, 1, 2, 0],
            "spans": [
                {"doc_id": name, "doc_start_token": 0, "start": 0, "length": 2},
                {"doc_id": f"{name}2", "doc_start_token": 0, "start": 2, "length": 1},
            ],
        }
        for n, name in enumerate(names)
    ]
    return pa.Table.from_pylist(rows, schema=token_sequence(4))


def test_a_chain_is_in_the_order_it_was_made(run: Path) -> None:
    chain = follow(open_stage(run / "corpus/tokens"))
    assert list(chain.links) == [
        "corpus.catalog",
        "corpus.ocr",
        "corpus.normalize",
        "train.base",
        "corpus.tokens",
    ]
    assert chain.end.stage == "corpus.tokens"
    assert chain.lost == {}
    behind = [link.stage for link in chain.rows_behind(chain.end)]
    assert behind == ["corpus.normalize", "corpus.ocr", "corpus.catalog"], "no model among them"


def test_the_nearest_stage_with_the_columns(run: Path) -> None:
    chain = follow(open_stage(run, "corpus.tokens"))
    assert [link.stage for link in chain.nearest(chain.end, ["text"])] == ["corpus.normalize"]
    assert [link.stage for link in chain.nearest(chain.end, ["kind"])] == ["corpus.catalog"]
    assert chain.nearest(chain.end, ["qa_id"]) == []


def test_an_input_with_new_content_is_not_followed(run: Path) -> None:
    put_stage(run, "corpus.ocr", documents()[:1], inputs=["corpus.catalog"])
    chain = follow(open_stage(run, "corpus.tokens"))
    assert chain.lost == {"corpus.ocr": "was made anew after corpus.normalize read it"}
    assert list(chain.links) == ["corpus.normalize", "train.base", "corpus.tokens"]


def test_an_input_that_is_gone(run: Path) -> None:
    shutil.rmtree(run / "corpus/catalog")
    assert follow(open_stage(run, "corpus.tokens")).lost == {"corpus.catalog": "is not there"}


def test_a_folder_taken_out_of_its_run_has_no_chain(run: Path, tmp_path: Path) -> None:
    link = open_stage(run / "corpus/tokens")
    assert run_folder(link) == run
    alone = open_stage(Path(shutil.move(run / "corpus/tokens", tmp_path / "alone")))
    assert run_folder(alone) is None
    assert follow(alone).lost == dict.fromkeys(["corpus.normalize", "train.base"], "is not there")


def test_no_stage_there(run: Path) -> None:
    for folder, default in ((run, None), (run, "corpus.replay"), (run / "nowhere", None)):
        with pytest.raises(InputError, match="no finished stage"):
            open_stage(folder, default)


def test_sequences_are_counted_over_shards(run: Path) -> None:
    link = open_stage(run, "corpus.tokens")
    places = [(s.shard, s.row) for s in (read_sequence(link, n) for n in range(5))]
    first, second = "part-00000.parquet", "part-00001.parquet"
    assert places == [(first, 0), (first, 1), (first, 2), (second, 0), (second, 1)]
    assert read_sequence(link, 4).values["input_ids"] == [1] * 4
    for number in (-1, 5):
        with pytest.raises(UsageError, match=r"it has 5|there is no sequence"):
            read_sequence(link, number)


def test_the_span_of_a_token(run: Path) -> None:
    sequence = read_sequence(open_stage(run, "corpus.tokens"), 3)
    spans = [sequence.span(token) for token in range(4)]
    assert [span and span["doc_id"] for span in spans] == ["b", "b", "b2", None]


def test_the_sequences_of_documents(run: Path) -> None:
    link = open_stage(run, "corpus.tokens")
    assert [number for number, _ in sequences_with(link, ["a"])] == [0, 1, 2, 4]
    assert [(n, s["doc_id"]) for n, s in sequences_with(link, ["b", "b2"])] == [(3, "b"), (3, "b2")]
    assert list(sequences_with(link, ["c"])) == []


def test_a_row_by_its_id(run: Path) -> None:
    link = open_stage(run, "corpus.normalize")
    for first in (None, "part-00001.parquet"):
        row = find_row(link, "doc_id", "notes:1", first)
        assert row is not None
        assert row["source"] == "notes|a\nb"
    assert find_row(link, "doc_id", "notes:3") is None


def test_a_damaged_shard_is_named(run: Path) -> None:
    link = open_stage(run, "corpus.normalize")
    link.shards[0].write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="cannot read this Parquet shard"):
        find_row(link, "doc_id", "arxiv:1")
    with pytest.raises(InputError, match="cannot read this Parquet shard"):
        link.columns()
