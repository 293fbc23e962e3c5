"""Reading general text: every kind of file, every kind of fault, and spans that miss nothing."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.rejects import Reason, Reject
from corpus import text_rows
from corpus.text_rows import SPAN_BYTES, Columns, Record, file_spans, read_span

COLUMNS = Columns("text", ("url", "id"), "web", "corpus.replay.text_column")


def _read(
    path: Path, columns: Columns = COLUMNS, span_bytes: int = SPAN_BYTES
) -> list[Record | Reject]:
    spans = file_spans(path, span_bytes)
    return [r for a, b in spans for r in read_span(path, a, b, columns, path.name)]


def _faults(outcomes: Iterable[Record | Reject]) -> list[tuple[str, Reason]]:
    return [(r.doc_id, r.reason) for r in outcomes if isinstance(r, Reject)]


def _texts(outcomes: Iterable[Record | Reject]) -> list[str]:
    return [r.text.decode() for r in outcomes if isinstance(r, Record)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes rows in the format that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines))
    elif path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(lines)
    else:
        path.write_bytes(lines)
    return path


ROWS = [
    {"text": f"Page {n} é\n" * (n % 7 + 1), "id": f"<urn:{n}>", "url": f"http://x/{n}", "n": n}
    for n in range(60)
]
NAMES = ["a.parquet", "a.jsonl", "a.jsonl.gz", "a.json.gz", "a.jsonl.zst"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("span_bytes", [1 << 28, 500, 37])
def test_spans_give_every_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, span_bytes: int
) -> None:
    monkeypatch.setattr(text_rows, "SPAN_BYTES", span_bytes)
    path = write(tmp_path / name, ROWS)
    records = _read(path, span_bytes=span_bytes)
    assert _texts(records) == [row["text"] for row in ROWS]
    first = records[0]
    assert isinstance(first, Record)
    assert first.facts == {"url": "http://x/0", "id": "<urn:0>"}
    assert len(file_spans(path, span_bytes)) > 1 or span_bytes == 1 << 28
    places = [record.at for record in records if isinstance(record, Record)]
    assert places == sorted(set(places))
    assert name != "a.parquet" or places == list(range(len(ROWS)))


def test_one_row_group_is_cut_into_spans(tmp_path: Path) -> None:
    """As pandas writes it: up to a million rows in one group."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    size = pq.read_metadata(path).row_group(0).total_byte_size
    spans = file_spans(path, size // 4)
    assert len(spans) == 5
    assert _texts(_read(path, span_bytes=size // 4)) == [row["text"] for row in ROWS]
    assert len(file_spans(path, 1)) == len(ROWS)
    assert _texts(_read(path, span_bytes=1)) == [row["text"] for row in ROWS]


def test_bad_lines_are_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rows, "_MAX_LINE_BYTES", 1000)
    lines = [
        b'{"text": "good"}',
        b"not json",
        b'["a list"]',
        b'{"id": 3}',
        b'{"text": null}',
        b'{"text": 5}',
        b'{"text": "  \\n"}',
        b'{"text": "\\ud800 half"}',
        b'{"text": "\xff\xfe bad"}',
        b"",
        b"   ",
        b'{"text": "' + b"x" * 5000 + b'"}',
        b"[" * 900,
        b'{"text": "last", "id": "\\ud800", "url": 7}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    outcomes = _read(path)
    assert _texts(outcomes) == ["good", "last"]
    assert [reason for _, reason in _faults(outcomes)] == [
        *[Reason.MALFORMED_RECORD] * 5,
        Reason.EMPTY_TEXT,
        Reason.INVALID_UTF8,
        Reason.INVALID_UTF8,
        Reason.TOO_LONG,
        Reason.MALFORMED_RECORD,
    ]
    assert _faults(outcomes)[0][0] == "web@a.jsonl:17"


def test_bad_rows_of_parquet_are_rejects(tmp_path: Path) -> None:
    texts = pa.array([b"good", None, b"", b"\xff\xfe", "gut é".encode()], pa.binary())
    table = pa.table({"text": texts.view(pa.string()), "id": texts.view(pa.string())})
    pq.write_table(table, tmp_path / "a.parquet")
    outcomes = _read(tmp_path / "a.parquet")
    assert _texts(outcomes) == ["good", "gut é"]
    assert _faults(outcomes) == [
        ("web@a.parquet:1", Reason.EMPTY_TEXT),
        ("web@a.parquet:2", Reason.EMPTY_TEXT),
        ("web@a.parquet:3", Reason.INVALID_UTF8),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
)
def test_kinds_of_text_columns(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array(["one", "two"]).cast(kind)
    pq.write_table(pa.table({"content": column}), tmp_path / "a.parquet")
    columns = replace(COLUMNS, text="content")
    assert _texts(_read(tmp_path / "a.parquet", columns)) == ["one", "two"]


def test_a_table_without_the_column_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no text column 'text' among: content, n") as error:
        _read(tmp_path / "a.parquet")
    assert "text_column" in error.value.remedy
    pq.write_table(pa.table({"text": [1]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="no text column"):
        _read(tmp_path / "b.parquet")


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_gives_what_it_holds_and_a_reject(tmp_path: Path, name: str) -> None:
    rng = random.Random(0)
    rows = [{"text": "".join(rng.choices("abcdefgh ", k=300))} for _ in range(300)]
    path = write(tmp_path / name, rows)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 5])
    outcomes = _read(path)
    texts = _texts(outcomes)
    assert texts == [row["text"] for row in rows[: len(texts)]]
    if name == "a.parquet":
        assert _faults(outcomes) == [("web@a.parquet:0", Reason.UNREADABLE_FILE)]
    elif name == "a.jsonl":
        # A line without its end: as far as anybody can tell, just not JSON.
        assert [reason for _, reason in _faults(outcomes)] == [Reason.MALFORMED_RECORD]
    else:
        assert Reason.UNREADABLE_FILE in [reason for _, reason in _faults(outcomes)]
    path.write_bytes(b"\x00\x01rubbish" * 50)
    assert _texts(_read(path)) == []
    assert len(_faults(_read(path))) == 1
    path.write_bytes(b"")
    assert _texts(_read(path)) == []


def test_a_damaged_page_of_parquet_costs_its_span_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    chunk = pq.ParquetFile(path).metadata.row_group(3).column(0)
    data = bytearray(path.read_bytes())
    at = chunk.dictionary_page_offset or chunk.data_page_offset
    data[at : at + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(bytes(data))
    sizes = [pq.read_metadata(path).row_group(g).total_byte_size for g in range(9)]
    outcomes = _read(path, span_bytes=max(sizes))
    assert _faults(outcomes) == [("web@a.parquet:21", Reason.UNREADABLE_FILE)]
    assert _texts(outcomes) == [row["text"] for row in [*ROWS[:21], *ROWS[28:]]]
