"""Every Python block of the documents runs as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.rejects import Reason, Reject, rejects_table
from core.shards import write_shard
from corpus.formats.plain import read_markdown
from tests.docs.markdown import Block, blocks, pages

BLOCKS = [block for page in pages() for block in blocks(page) if block.language == "python"]

ROWS = [
    {"text": "# Ice\n\nIt is cold: **very**.", "title": 'A "new" ice: \u2082', "license": None},
    {"text": "---\nnot front matter", "title": None, "license": "CC0-1.0"},
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the blocks read: rows of a reader's own, and a stage's rejects."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    rejects = tmp_path / "runs/demo/corpus/normalize/rejects"
    table = rejects_table("corpus.normalize", [Reject("notes:a", Reason.EMPTY_TEXT, "3", "abc")])
    write_shard(rejects / "part-00000.parquet", table)
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: f"{b.page}:{b.line}")
def test_block(block: Block, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, block.page, "exec"), {})
    if "data/rows" in block.text:
        files = sorted((world / "data/rows").rglob("*.md"))
        read = [read_markdown(file, split=False) for file in files]
        assert [(r.parts[0].text or "").strip() for r in read] == [row["text"] for row in ROWS]
        assert [(r.title, r.license) for r in read] == [(r["title"], r["license"]) for r in ROWS]
    else:
        assert "notes:a" in capsys.readouterr().out


def test_there_are_blocks() -> None:
    assert BLOCKS
