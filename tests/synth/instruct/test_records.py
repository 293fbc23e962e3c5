"""Files to blocks, blocks to records: the same records however a file is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.rejects import Reason
from synth.instruct import records as records_module
from synth.instruct.blocks import Block, file_blocks, file_labels
from synth.instruct.records import Record, RecordError, read_records

ROWS = [{"n": n, "text": "é\u2028 " * (n % 5)} for n in range(40)]


def _read(path: Path, block_bytes: int = 1 << 20) -> list[Record]:
    blocks = file_blocks(path, path.name, path.name, block_bytes)
    return [record for block in blocks for record in read_records(path, block)]


def _put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _file(folder: Path, kind: str) -> Path:
    dumped = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    if kind == "lines":
        return _put(folder, "x.jsonl", "\r\n\n".join(dumped).encode())
    if kind == "lines in .json":
        return _put(folder, "x.json", "\n".join(dumped).encode() + b"\n")
    if kind == "array":
        return _put(folder, "x.json", json.dumps(ROWS, indent=2).encode())
    path = folder / "x.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
    return path


@pytest.mark.parametrize("kind", ["lines", "lines in .json", "array", "parquet"])
@pytest.mark.parametrize("block_bytes", [1, 30, 64, 500])
def test_blocks_do_not_change_the_records(tmp_path: Path, kind: str, block_bytes: int) -> None:
    path = _file(tmp_path, kind)
    whole = _read(path)
    assert [record.value for record in whole] == ROWS
    assert len({record.place for record in whole}) == len(ROWS)
    assert len(file_blocks(path, "x", "x", block_bytes)) > 1
    assert _read(path, block_bytes) == whole


def test_places_say_where(tmp_path: Path) -> None:
    lines = _read(_put(tmp_path, "a.jsonl", b'{"n": 1}\n\n{"n": 2}\n'))
    assert [record.place for record in lines] == ["a.jsonl@0", "a.jsonl@10"]
    array = _read(_put(tmp_path, "a.json", b'[{"n": 1}, {"n": 2}]'))
    assert [record.place for record in array] == ["a.json:0", "a.json:1"]


def test_one_object_is_one_record(tmp_path: Path) -> None:
    (record,) = _read(_put(tmp_path, "a.json", b'\xef\xbb\xbf{\n "n":\n 1\n}\n'), 3)
    assert record.value == {"n": 1}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (record,) = _read(_put(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"n": 1}\n'))
    assert record.value == {"n": 1}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    assert _read(_put(tmp_path, name, b" \n")) == []


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{broken", Reason.MALFORMED_RECORD, "no JSON: JSONDecodeError"),
        (b"[" * 100_000, Reason.MALFORMED_RECORD, "no JSON: RecursionError"),
        (b'{"n": ' + b"1" * 5000 + b"}", Reason.MALFORMED_RECORD, "no JSON: ValueError"),
        (b'{"n": 1, "n": 2}', Reason.MALFORMED_RECORD, "no JSON: DoubledKeyError: the key 'n'"),
        (b'{"n": "caf\xe9"}', Reason.INVALID_UTF8, "'utf-8' codec"),
        (b'{"n": "\xed\xa0\xbd"}', Reason.INVALID_UTF8, "'utf-8' codec"),
    ],
)
def test_broken_lines(tmp_path: Path, line: bytes, reason: Reason, detail: str) -> None:
    data = b'{"n": 1}\n' + line + b'\n{"n": 2}'
    first, broken, last = _read(_put(tmp_path, "a.jsonl", data))
    assert (first.value, last.value) == ({"n": 1}, {"n": 2})
    assert isinstance(broken.value, RecordError)
    assert broken.value.reason == reason
    assert broken.value.detail.startswith(detail)
    assert broken.shown() == line[:16_000].decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_record_may_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (records_module,):
        monkeypatch.setattr(module, "RECORD_BYTES", 100)
    long = b'{"n": "' + b"x" * 500 + b'"}'
    data = [b'{"n": 1}', long, b'{"n": 2}']
    joined = b"[" + b",".join(data) + b"]" if name == "a.json" else b"\n".join(data)
    first, broken, last = _read(_put(tmp_path, name, joined))
    assert (first.value, last.value) == ({"n": 1}, {"n": 2})
    assert isinstance(broken.value, RecordError)
    assert "longer than" in broken.value.detail
    assert len(broken.shown()) <= 101


def test_an_array_that_ends_too_early(tmp_path: Path) -> None:
    _, broken = _read(_put(tmp_path, "a.json", b'[{"n": 1}, {"n": "tw'))
    assert isinstance(broken.value, RecordError)
    assert broken.value.detail == "the file ends inside of this record"


def test_parquet_with_a_text_that_is_not_unicode(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary())
    bad = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"output": bad}), tmp_path / "a.parquet")
    values = [record.value for record in _read(tmp_path / "a.parquet")]
    assert (values[0], values[2]) == ({"output": "good"}, {"output": "fine"})
    assert isinstance(values[1], RecordError)
    assert values[1].reason == Reason.INVALID_UTF8


@pytest.mark.parametrize(
    ("name", "what"), [("a.parquet", "cannot read this Parquet"), ("a.csv", "'.csv' file")]
)
def test_files_that_hold_no_records(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(InputError) as error:
        _read(_put(tmp_path, name, b"no such thing"))
    assert what in error.value.what


def test_a_parquet_cell_that_python_cannot_hold(tmp_path: Path) -> None:
    days = pa.array([0, 2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"n": [1, 2], "created": days}), tmp_path / "a.parquet")
    first, far = [record.value for record in _read(tmp_path / "a.parquet")]
    assert first["n"] == 1
    assert isinstance(far, RecordError)
    assert far.detail.startswith("the row cannot be read: OverflowError")


def test_lists_of_turns_one_a_line(tmp_path: Path) -> None:
    line = b'[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]\n'
    for name in ("a.jsonl", "a.json"):
        assert [len(record.value) for record in _read(_put(tmp_path, name, line * 3))] == [2, 2, 2]
    # Of arrays of records the first is read, and the rest is told.
    assert len(_read(_put(tmp_path, "a.json", b'[{"n": 1}, {"n": 2}]\n' * 2))) == 3


def test_no_number_is_nothing(tmp_path: Path) -> None:
    (record,) = _read(_put(tmp_path, "a.jsonl", b'{"n": NaN}'))
    assert record.value == {"n": None}


def test_parquet_that_broke_after_it_was_planned(tmp_path: Path) -> None:
    path = _put(tmp_path, "a.parquet", b"PAR1 gone")
    with pytest.raises(InputError):
        list(read_records(path, Block("a", "a", "parquet", 0, 5)))


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table([pa.array(["x"]), pa.array(["y"])], names=["output", "output"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="two columns are named 'output'"):
        _read(tmp_path / "a.parquet")


def test_labels_are_as_short_as_they_can_be() -> None:
    paths = [Path("/d/code/p-0.json"), Path("/d/chat/p-0.json"), Path("/d/chat/p-1.json")]
    assert list(file_labels(paths).values()) == ["code/p-0.json", "chat/p-0.json", "p-1.json"]
