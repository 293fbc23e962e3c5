"""The metadata snapshot in every wrapping: all records once, whatever the block size."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import tracemalloc
from pathlib import Path

import pytest

from core.errors import InputError
from corpus.arxiv_snapshot import blocks, read_block

RECORDS = [
    {"id": "0704.0001", "title": 'Brackets ]}[{ and \\" quotes"'},
    {"id": "0704.0002", "authors_parsed": [["A", "B", ""], ["C", "", ""]]},
    {"id": "0704.0003", "abstract": "α\n  β", "versions": [{"version": "v1"}, {}]},
    {"id": "0704.0004"},
    {"id": "0704.0005", "nested": {"a": {"b": [1, 2, {"c": []}]}}},
]
LINES = "".join(json.dumps(r) + "\n" for r in RECORDS).encode()


def _write(folder: Path, wrapping: str) -> Path:
    array = wrapping.startswith("array")
    text = json.dumps(RECORDS, indent=2 if wrapping == "array" else None).encode()
    content = text if array else LINES
    if wrapping.endswith("bom"):
        content = b"\xef\xbb\xbf" + content
    path = folder / ("meta.json.gz" if wrapping.endswith("gz") else "meta.json")
    path.write_bytes(gzip.compress(content) if wrapping.endswith("gz") else content)
    return path


def _all(path: Path, records: int) -> list[list[bytes]]:
    return [[line for _, line in read_block(path, *block)] for block in blocks(path, records)]


@pytest.mark.parametrize(
    "wrapping",
    ["lines", "lines gz", "lines bom", "array", "array compact", "array gz", "array bom"],
)
@pytest.mark.parametrize("records", [1, 2, 3, 100])
def test_all_records_once_in_order(tmp_path: Path, wrapping: str, records: int) -> None:
    path = _write(tmp_path, wrapping)
    found = _all(path, records)
    assert [json.loads(line) for block in found for line in block] == RECORDS
    assert all(len(block) == records for block in found[:-1])
    ranges = list(blocks(path, records))
    assert [start for start, _ in ranges] == [0, *[end for _, end in ranges[:-1]]]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    rows = [["0704.0001", 'A "quoted"\ntitle, with lines'], ["0704.0002", "B"], ["0704.0003", ""]]
    with path.open("w", newline="") as f:
        csv.writer(f).writerows([["id", "title"], *rows])
    for records in (1, 2, 9):
        found = [json.loads(line) for block in _all(path, records) for line in block]
        assert [[r["id"], r["title"]] for r in found] == rows


def test_blank_lines_are_no_records_and_positions_are_bytes(tmp_path: Path) -> None:
    path = tmp_path / "meta.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"b": "\xc3\xa4"}\r\n   \n{"c": 3}')
    ((start, end),) = blocks(path, 100)
    assert [position for position, _ in read_block(path, start, end)] == [0, 10, 27]
    assert end == path.stat().st_size


def test_an_empty_file_has_no_block(tmp_path: Path) -> None:
    for content in (b"", b"[]", b"[ \n ]"):
        (tmp_path / "meta.json").write_bytes(content)
        assert _all(tmp_path / "meta.json", 5) in ([], [[]])


def test_what_is_broken_in_an_array_is_a_record_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(b'[{"id": 1}, nonsense, {"id": 2 "x"}, 5, {"id": 3}, {"id": 4, "ti')
    for records in (1, 2, 9):
        found = [line for block in _all(path, records) for line in block]
        assert found == [
            b'{"id": 1}',
            b"nonsense",
            b'{"id": 2 "x"}',
            b"5",
            b'{"id": 3}',
            b'{"id": 4, "ti',
        ]


@pytest.mark.parametrize("extra", [b"}", b"]", b"}}", b"]}", b"][", b"],"])
def test_a_bracket_too_many_costs_no_other_record(tmp_path: Path, extra: bytes) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(b'[{"id": 1},{"id": 2}' + extra + b',{"id": 3},{"id": 4}]')
    for records in (1, 2, 9):
        found = [line for block in _all(path, records) for line in block]
        assert [line for line in found if b"id" in line] == [b'{"id": %d}' % n for n in range(1, 5)]
        assert len(found) == 4 + (b"}" in extra)


def test_a_bracket_too_few_costs_a_bounded_stretch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.arxiv_snapshot._MAX_ITEM_BYTES", 100)
    path = tmp_path / "meta.json"
    records = [b'{"id": %d, "versions": [{"n": [1]}]}' % n for n in range(20)]
    path.write_bytes(b"[" + b",\n".join([*records[:3], b'{"id": 3, "v": [', *records[4:]]) + b"]")
    found = [line for block in _all(path, 5) for line in block]
    assert [line for line in found if line in records] == [*records[:3], *records[7:]]
    assert len(found) < len(records)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04" + LINES, "a zip archive"),
        (bz2.compress(LINES), "bzip2"),
        (lzma.compress(LINES), "xz"),
        (b"\x28\xb5\x2f\xfd" + LINES, "zstd"),
        (b"PAR1" + LINES, "Parquet"),
        (LINES.decode().encode("utf-16"), "UTF-16"),
    ],
)
def test_other_kinds_of_file_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"the metadata is .*{what}") as error:
        list(blocks(path, 5))
    assert "gzipped" in error.value.remedy


def test_a_quote_without_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.arxiv_snapshot.MAX_RECORD_BYTES", 100)
    path = tmp_path / "meta.csv"
    path.write_text('id,title\n0704.0001,"A\n' + "0704.0002,B\n" * 20)
    with pytest.raises(InputError, match="field larger than field limit"):
        list(blocks(path, 5))
    assert csv.field_size_limit() > 100, "it is the whole process's"


def test_a_gzip_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "meta.json.gz"
    path.write_bytes(gzip.compress(LINES * 500)[:-40])
    with pytest.raises(InputError, match="cannot read the metadata") as error:
        list(blocks(path, 5))
    assert "get it again" in error.value.remedy


def test_a_large_snapshot_is_never_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    with path.open("w") as f:
        f.write("[")
        f.writelines(json.dumps({"id": n, "abstract": "x" * 2000}) + ",\n" for n in range(10_000))
        f.write('{"id": "last"}]')
    tracemalloc.start()
    count = sum(1 for block in blocks(path, 100) for _ in read_block(path, *block))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_001
    assert peak < 6_000_000  # of 20 MB
