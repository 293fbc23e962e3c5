from __future__ import annotations

import pickle

import pytest

from core.file_list import FileEntry, FileList, batches

ENTRIES = [
    FileEntry("part-00000.parquet", 10, "a" * 64, 3),
    FileEntry("rejects/part-00000.parquet", 2**40, "b" * 64, 0),
    FileEntry("part-00001.parquet", 0, "c" * 64, None),
    FileEntry("odd \udcff, é.json", 5, "d", None),
]


def test_entries_come_back_as_they_went_in() -> None:
    # More than one batch.
    many = ENTRIES * 3000
    files = FileList(iter(many))
    assert len(files) == 12_000
    assert list(files) == many
    assert files == many
    assert many == files
    assert files == FileList(many)
    assert files != many[1:]
    assert files != [*many[:-1], ENTRIES[0]]
    assert (files[5], files[-1], files[11_999]) == (many[5], many[-1], many[-1])
    assert files[1:9_000:7] == many[1:9_000:7]
    assert pickle.loads(pickle.dumps(files)) == files
    with pytest.raises(IndexError):
        _ = files[12_000]


def test_none_is_empty() -> None:
    assert not FileList()
    assert FileList() == []
    assert list(FileList().named("part-")) == []


def test_files_are_found_by_the_beginning_of_their_names() -> None:
    assert FileList(ENTRIES).named("part-") == [ENTRIES[0], ENTRIES[2]]
    assert "2 files" in repr(FileList(ENTRIES).named("part-"))


def test_batches_hold_every_entry_once() -> None:
    assert [len(batch) for batch in batches(ENTRIES, 3)] == [3, 1]
    assert list(batches([], 3)) == []
