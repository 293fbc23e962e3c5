"""Every Python block of the documents runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.rejects import Reason, Reject, rejects_table
from core.shards import write_shard
from tests.docs.markdown import Block, blocks, pages

BLOCKS = [block for page in pages() for block in blocks(page) if block.language == "python"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the blocks read: a stage's rejects."""
    monkeypatch.chdir(tmp_path)
    rejects = tmp_path / "runs/demo/corpus/normalize/rejects"
    table = rejects_table("corpus.normalize", [Reject("notes:a", Reason.EMPTY_TEXT, "3", "abc")])
    write_shard(rejects / "part-00000.parquet", table)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: f"{b.page}:{b.line}")
def test_block(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, block.page, "exec"), {})
    assert "notes:a" in capsys.readouterr().out


def test_there_are_blocks() -> None:
    assert BLOCKS
