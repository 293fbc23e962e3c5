from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from core import shards
from core.errors import InputError
from core.rejects import Reason, Reject, rejects_table
from core.shards import (
    count_rows,
    read_shard,
    shard_name,
    shard_paths,
    stream_batches,
    write_shard,
)


def _table(rows: int = 5000, seed: int = 0) -> pa.Table:
    rng = random.Random(seed)
    return pa.table(
        {
            "doc_id": [f"d{i}" for i in range(rows)],
            "text": ["word " * rng.randrange(9) for _ in range(rows)],
            "pages": [[{"page": 1}] if i % 2 else None for i in range(rows)],
        }
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = _table()
    path = tmp_path / "deep" / shard_name(0)
    write_shard(path, table)
    assert path.name == "part-00000.parquet"
    assert read_shard(path).equals(table)
    assert read_shard(path, ["text"]).equals(table.select(["text"]))
    assert count_rows(path) == 5000


def test_same_table_same_bytes_however_it_is_chunked(tmp_path: Path) -> None:
    table = _table()
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 4000), table.slice(4007)])
    write_shard(tmp_path / "a", table)
    write_shard(tmp_path / "b", pieces)
    write_shard(tmp_path / "c", _table(seed=1))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    table = _table(0)
    write_shard(tmp_path / shard_name(0), table)
    assert read_shard(tmp_path / shard_name(0)).schema == table.schema


def test_rows_stream_in_shard_order(tmp_path: Path) -> None:
    for number, start in ((10, 60), (2, 0)):
        write_shard(tmp_path / shard_name(number), _table(100).slice(start, 60))
    (tmp_path / "manifest.json").write_text("{}")
    assert [p.name for p in shard_paths(tmp_path)] == ["part-00002.parquet", "part-00010.parquet"]
    batches = list(stream_batches(tmp_path, ["doc_id"], batch_rows=25))
    assert max(b.num_rows for b in batches) == 25
    seen = [name for b in batches for name in b.column(0).to_pylist()]
    assert seen == [f"d{i}" for i in (*range(60), *range(60, 100))]


def _damaged() -> list[object]:
    def cut(keep: float) -> object:
        return lambda good: good[: int(len(good) * keep)]

    garbage = random.Random(3).randbytes(4000)
    return [
        pytest.param(lambda good: b"", id="empty"),
        pytest.param(cut(0.1), id="start"),
        pytest.param(cut(0.5), id="half"),
        pytest.param(lambda good: good[:-1], id="last byte gone"),
        pytest.param(lambda good: garbage, id="garbage"),
        pytest.param(lambda good: b"PAR1" + garbage + b"PAR1", id="garbage in Parquet's marks"),
        pytest.param(lambda good: good[:-400] + garbage[:392] + good[-8:], id="garbage footer"),
    ]


@pytest.mark.parametrize("damage", _damaged())
def test_a_damaged_shard_is_named(tmp_path: Path, damage: object) -> None:
    path = tmp_path / shard_name(0)
    write_shard(path, _table())
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    for read in (read_shard, count_rows, lambda p: list(stream_batches(p.parent))):
        with pytest.raises(InputError, match=r"cannot read this Parquet shard: .+") as error:
            read(path)
        assert error.value.where == str(path)
        assert "delete it and run again" in error.value.remedy


def test_a_shard_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / shard_name(0)
    write_shard(path, _table())
    good = path.read_bytes()
    path.write_bytes(good[:4] + bytes(2000) + good[2004:])
    for read in (read_shard, lambda p: list(stream_batches(p.parent))):
        with pytest.raises(InputError):
            read(path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_shard(tmp_path / "part-00007.parquet")
    assert error.value.where.endswith("part-00007.parquet")


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files")]
)
def test_a_shard_that_may_be_good_is_not_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    monkeypatch.setattr(shards, "_open", lambda _: (_ for _ in ()).throw(error))
    with pytest.raises(InputError) as caught:
        read_shard(tmp_path / shard_name(0))
    assert "delete" not in caught.value.remedy


def test_lack_of_memory_is_no_fault_of_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = pa.ArrowMemoryError("malloc of size 64 failed")
    monkeypatch.setattr(shards, "_open", lambda _: (_ for _ in ()).throw(error))
    with pytest.raises(MemoryError):
        read_shard(tmp_path / shard_name(0))


def test_rejects_hold_any_text() -> None:
    rejects = [
        Reject("a", Reason.EMPTY_TEXT, "10 characters"),
        Reject("b", Reason.INVALID_UTF8, "half a pair: \ud800", "\udce9"),
    ]
    assert rejects_table("corpus.x", rejects).to_pylist() == [
        {
            "doc_id": "a",
            "stage": "corpus.x",
            "reason": "empty_text",
            "detail": "10 characters",
            "text": None,
        },
        {
            "doc_id": "b",
            "stage": "corpus.x",
            "reason": "invalid_utf8",
            "detail": "half a pair: \\ud800",
            "text": "\\udce9",
        },
    ]
    assert rejects_table("corpus.x", []).num_rows == 0
