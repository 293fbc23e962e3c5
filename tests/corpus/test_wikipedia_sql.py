"""SQL dumps: every row and byte comes back, whatever is in the sort keys."""

from __future__ import annotations

import bz2
import gzip
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from core.errors import InputError
from corpus.wikipedia import files, sql
from corpus.wikipedia.sql import read_table, table_columns
from tests.corpus.wiki import AWKWARD_KEY, LINKS, Value, sql_dump, write_gzip

NAMES = ["cl_from", "cl_sortkey", "cl_type", "cl_target_id"]


def _rows(count: int) -> list[list[Value]]:
    generator = random.Random(5)
    rows: list[list[Value]] = []
    for number in range(count):
        key = bytes(generator.choices(b"ab'\\\n,()\"; NULLV\x00\xff", k=generator.randrange(40)))
        kind = generator.choice([b"page", b"subcat"])
        rows.append([number, key, b"2025-02-17 13:31:43", AWKWARD_KEY, kind, 1, number * 3 + 1])
    return rows


def _read(path: Path, names: list[str] = NAMES) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for batch in read_table(path, "categorylinks", names):
        columns = [
            batch.integers(n).tolist() if n in ("cl_from", "cl_target_id") else batch.texts(n)
            for n in names
        ]
        found += zip(*columns, strict=True)
    return found


@pytest.mark.parametrize("chunk_bytes", [13, 97, 4096, 2 << 20])
def test_all_rows_and_bytes_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", chunk_bytes)
    rows = _rows(300)
    path = write_gzip(tmp_path / "t.sql.gz", sql_dump("categorylinks", LINKS["new"], rows, 37))
    assert _read(path) == [(r[0], r[1], r[4], r[6]) for r in rows]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, bytes])
def test_packing_is_told_by_content(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "table.dat"
    path.write_bytes(pack(sql_dump("categorylinks", LINKS["new"], _rows(10))))
    assert len(_read(path)) == 10


def test_column_order_and_nulls(tmp_path: Path) -> None:
    rows: list[list[Value]] = [
        [1, b"Stars", b"k", b"t", b"", b"c", b"page", 1, None],
        [2, b"", b"k", b"t", b"", b"c", b"subcat", 1, 77],
    ]
    path = write_gzip(tmp_path / "t.sql.gz", sql_dump("categorylinks", LINKS["both"], rows))
    assert list(table_columns(path, "categorylinks")) == list(LINKS["both"])
    (batch,) = read_table(path, "categorylinks", ["cl_target_id", "cl_to"])
    assert batch.integers("cl_target_id").tolist() == [-1, 77]
    assert batch.texts("cl_to") == [b"Stars", b""]
    assert batch.texts("cl_to", [1]) == [b""]


def test_raw_newlines_doubled_quotes_and_other_layouts(tmp_path: Path) -> None:
    head = sql_dump("categorylinks", LINKS["new"], [])
    insert = (
        b"INSERT IGNORE INTO `categorylinks` VALUES\n"
        b"(1, 'raw\nnewline', 't', 'it''s', 'page', 1, 5),\n"
        b"(2, '', 't', _binary 'x', 'subcat', 1, 6);\n"
    )
    path = tmp_path / "t.sql"
    path.write_bytes(head + insert)
    assert _read(path) == [(1, b"raw\nnewline", b"page", 5), (2, b"", b"subcat", 6)]
    (batch,) = read_table(path, "categorylinks", ["cl_sortkey_prefix"])
    assert batch.texts("cl_sortkey_prefix") == [b"it's", b"x"]


def test_rows_of_other_tables_are_not_taken(tmp_path: Path) -> None:
    row = b"(9,'k','t','p','page',1,9)"
    text = sql_dump("categorylinks", LINKS["new"], _rows(2))
    text += b"INSERT INTO `others` VALUES " + row + b"," + row + b";\n"
    text += b"INSERT INTO `categorylinks` VALUES (3,'k','t','p','page',1,8);\n"
    path = tmp_path / "t.sql"
    path.write_bytes(text)
    assert [row[0] for row in _read(path)] == [0, 1, 3]


def test_rows_inside_a_string_are_not_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A table of integers and one string: pieces end inside the string, after what looks like rows.
    monkeypatch.setattr(files, "CHUNK_BYTES", 16)
    columns = {"cl_from": "int", "cl_to": "bytes"}
    rows: list[list[Value]] = [[1, b"),(7,8),(9,10);" * 5], [2, b"x"]]
    path = tmp_path / "t.sql"
    path.write_bytes(sql_dump("categorylinks", columns, rows))
    found = [
        x for b in read_table(path, "categorylinks", ["cl_from"]) for x in b.integers("cl_from")
    ]
    assert found == [1, 2]


def test_empty_table(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "t.sql.gz", sql_dump("categorylinks", LINKS["new"], []))
    assert _read(path) == []


def _error(path: Path, names: list[str] = NAMES) -> InputError:
    with pytest.raises(InputError) as caught:
        _read(path, names)
    assert caught.value.where == str(path)
    assert caught.value.remedy
    return caught.value


def test_wrong_table(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "t.sql.gz", sql_dump("pagelinks", LINKS["new"], _rows(2)))
    assert "it holds pagelinks" in _error(path).what


def test_no_table(tmp_path: Path) -> None:
    path = tmp_path / "t.sql"
    path.write_bytes(b"<html>404 not found</html>")
    assert "no CREATE TABLE" in _error(path).what
    path.write_bytes(b"")
    assert "no CREATE TABLE" in _error(path).what


def test_missing_file_and_column(tmp_path: Path) -> None:
    assert "cannot read" in _error(tmp_path / "none.sql.gz").what
    path = write_gzip(tmp_path / "t.sql.gz", sql_dump("categorylinks", LINKS["new"], _rows(2)))
    assert "no column cl_to" in _error(path, ["cl_to"]).what


def test_truncated_and_corrupt_files(tmp_path: Path) -> None:
    text = sql_dump("categorylinks", LINKS["new"], _rows(2000))
    packed = gzip.compress(text)
    path = tmp_path / "t.sql.gz"
    path.write_bytes(packed[: len(packed) // 2])
    assert "to its end" in _error(path).what
    path.write_bytes(packed[:3000] + b"\xff" * 50 + packed[3050:])
    _error(path)
    plain = tmp_path / "t.sql"
    plain.write_bytes(text[: text.rindex(b"),(") + 10])
    assert "malformed after 1999 rows" in _error(plain).what


def test_row_of_another_shape(tmp_path: Path) -> None:
    text = sql_dump("categorylinks", LINKS["new"], _rows(3))
    path = tmp_path / "t.sql"
    path.write_bytes(text.replace(b"),(2,", b"),(2,2,"))
    assert "malformed after 2 rows" in _error(path).what


@pytest.mark.parametrize("filler", [b"(1,'", b"\\", b"(((", b"'',", b"(1,'a',", b"x", b"\n", b"("])
def test_hostile_input_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filler: bytes
) -> None:
    monkeypatch.setattr(sql, "_MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "t.sql.gz"
    head = sql_dump("categorylinks", LINKS["new"], [])
    text = filler * ((8 << 20) // len(filler))
    write_gzip(path, head + b"INSERT INTO `categorylinks` VALUES (1,'" + text)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(InputError):
        _read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - started < 10
    assert peak < 60 << 20
