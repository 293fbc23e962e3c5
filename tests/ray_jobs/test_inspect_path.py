"""What `astromill inspect` shows of odd data, and of damaged data."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from core.errors import InputError
from core.manifest import Manifest
from core.rejects import Reason, Reject, rejects_table
from core.shards import write_shard
from ray_jobs.inspect_path import inspect_path

MANIFEST = Manifest("corpus.ocr", 1, {}, 1, {}, {}, "", "", "", [], "document", 1, 0, 1)


def _shown(folder: Path) -> str:
    console = Console(file=io.StringIO(), width=200)
    inspect_path(folder, 1, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_names_and_texts_from_outside_are_shown_as_they_are(tmp_path: Path) -> None:
    manifest = Manifest(**{**vars(MANIFEST), "metrics": {"[/x]/entries": 5}})
    manifest.save(tmp_path)
    reject = Reject("a", Reason.EMPTY_TEXT, "\x1b[31m[/red]\x9b")
    write_shard(tmp_path / "rejects" / "part-00000.parquet", rejects_table("s", [reject]))
    shown = _shown(tmp_path)
    assert "  [/x]/entries: 5" in shown
    assert "\ufffd[31m[/red]\ufffd" in shown


def test_damaged_rejects_are_named(tmp_path: Path) -> None:
    MANIFEST.save(tmp_path)
    (tmp_path / "rejects").mkdir()
    (tmp_path / "rejects" / "part-00000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot read the rejects") as error:
        _shown(tmp_path)
    assert error.value.where == str(tmp_path / "rejects")
