from __future__ import annotations

from pathlib import Path

import pytest

from core.memory import _free_of_groups, free_memory_bytes


def _group(folder: Path, limit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text("600\n")
    (folder / "memory.stat").write_text("anon 400\ninactive_file 200\n")


@pytest.mark.parametrize("path", ["/job/step", "/job/step/deeper", "/elsewhere/on/the/host"])
def test_the_limit_of_a_group_above_counts(tmp_path: Path, path: str) -> None:
    own = tmp_path / "cgroup"
    own.write_text(f"4:memory:/old\n0::{path}\n")
    root = tmp_path / "root"
    _group(root, "9000")
    _group(root / "job", "1000")
    _group(root / "job" / "step", "max")
    assert _free_of_groups(root, own) == (600 if path.startswith("/job") else 8600)


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert _free_of_groups(tmp_path, tmp_path / "none") is None
    assert (free_memory_bytes() or 1) > 0
