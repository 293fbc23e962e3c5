"""Where arXiv papers' PDFs lie, and how the metadata file is cut into blocks of lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from corpus.arxiv import find_pdf, line_blocks, read_records


def _put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"%PDF")


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("0704.0001", "0704.0001.pdf"),
        ("0704.0001", "0704.0001v3.pdf"),
        ("0704.0001", "0704/0704.0001v3.pdf"),
        ("0704.0001", "0704.0001V3.PDF"),
        ("2107.12345", "2107/2107.12345v1.pdf"),
        ("astro-ph/9901001", "astro-ph/9901001.pdf"),
        ("astro-ph/9901001", "astro-ph/9901001v2.pdf"),
        ("astro-ph/9901001", "astro-ph/9901/9901001v2.pdf"),
        ("astro-ph/9901001", "astro-ph/pdf/9901/9901001v2.pdf"),
        ("astro-ph/9901001", "9901/astro-ph9901001.pdf"),
        ("astro-ph/9901001", "astro-ph9901001v1.pdf"),
        ("astro-ph/9901001", "astro-ph_9901001.pdf"),
        ("math.GT/0309136", "math/0309136v1.pdf"),
        ("math.GT/0309136", "math0309136.pdf"),
    ],
)
def test_layouts(tmp_path: Path, identifier: str, name: str) -> None:
    _put(tmp_path, name)
    assert find_pdf(tmp_path, identifier) == tmp_path / name


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("0704.0001", "0704.00011.pdf"),
        ("0704.0001", "10704.0001.pdf"),
        ("0704.0001", "0704.0001.pdf.part"),
        ("0704.0001", "0704.0001v1.txt"),
        ("0704.0001", "0704.0001vx.pdf"),
        ("0704.0001", "0704.0001.pdf/inside"),
        ("astro-ph/9901001", "9901001.pdf"),
        ("astro-ph/9901001", "9901/9901001.pdf"),
        ("astro-ph/9901001", "hep-ph/9901001.pdf"),
        ("astro-ph/9901001", "9901/hep-ph9901001.pdf"),
    ],
)
def test_other_papers_files_are_not_taken(tmp_path: Path, identifier: str, name: str) -> None:
    _put(tmp_path, name)
    assert find_pdf(tmp_path, identifier) is None


def test_the_newest_version_wins_wherever_it_lies(tmp_path: Path) -> None:
    _put(tmp_path, "astro-ph/9901001v1.pdf", "astro-ph9901001v3.pdf", "9901/astro-ph_9901001.pdf")
    _put(tmp_path, "0704.0001.pdf", "0704.0001v2.pdf", "0704/0704.0001v10.pdf", "0704.0001v9.pdf")
    assert find_pdf(tmp_path, "0704.0001") == tmp_path / "0704" / "0704.0001v10.pdf"
    assert find_pdf(tmp_path, "astro-ph/9901001") == tmp_path / "astro-ph9901001v3.pdf"


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert find_pdf(tmp_path / "absent", "0704.0001") is None


def _lines(path: Path, per_block: int) -> list[list[bytes]]:
    blocks = line_blocks(path, per_block)
    return [[line for _, line in read_records(path, start, end)] for start, end in blocks]


def test_blocks_hold_every_line_once(tmp_path: Path) -> None:
    path = tmp_path / "meta.jsonl"
    lines = [b'{"a": 1}\n', b"\n", b'{"b": "\xc3\xa4"}\r\n', b"   \n", b'{"c": 3}']
    path.write_bytes(b"".join(lines))
    records = [lines[0], lines[2], lines[4]]
    for per_block in (1, 2, 3, 100):
        ranges = list(line_blocks(path, per_block))
        assert [start for start, _ in ranges] == [0, *[end for _, end in ranges[:-1]]]
        assert ranges[-1][1] == path.stat().st_size
        assert [line for block in _lines(path, per_block) for line in block] == records
    offsets = [offset for offset, _ in read_records(path, 0, path.stat().st_size)]
    assert offsets == [0, 10, 27]
    assert list(read_records(path, 10, 10)) == []


def test_an_empty_file_has_no_block(tmp_path: Path) -> None:
    (tmp_path / "meta.jsonl").write_bytes(b"")
    assert list(line_blocks(tmp_path / "meta.jsonl", 5)) == []


@pytest.mark.parametrize("head", [b"", b"\n  ", b"\xef\xbb\xbf"])
def test_a_json_array_is_refused_with_the_way_out(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(head + b'[{"id": "0704.0001"}]')
    with pytest.raises(InputError, match="one JSON array") as error:
        list(line_blocks(path, 5))
    assert error.value.where == str(path)
    assert "jq" in error.value.remedy
