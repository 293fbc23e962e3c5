from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.atomic import atomic_file, replace_folder, sweep, write_json, write_text


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent  # a move within one file system
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_failure_leaves_what_stood_there(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail() -> None:
        with atomic_file(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_killed_writer_leaves_a_temporary_that_sweep_removes(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    script = (
        "import os, sys; from pathlib import Path; from core.atomic import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(target)]
    subprocess.run(command, check=False, cwd=Path(__file__).parents[2], timeout=60)
    assert target.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    assert sweep(tmp_path) == 1
    assert os.listdir(tmp_path) == ["file.txt"]


def test_sweep_removes_temporary_folders_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "data.tmp-1-ab").mkdir()
    (tmp_path / "data.tmp-1-ab" / "x").write_text("x")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "y.tmp-1-ab").write_text("not directly here")
    assert sweep(tmp_path) == 1
    assert (tmp_path / "data" / "y.tmp-1-ab").exists()
    assert sweep(tmp_path / "absent") == 0


def test_replace_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "one" / "only_here").write_text("")
    target = tmp_path / "deep" / "target"
    replace_folder(tmp_path / "one", target)
    replace_folder(tmp_path / "two", target)
    assert os.listdir(target) == ["file"]
    assert (target / "file").read_text() == "two"
    assert os.listdir(tmp_path) == ["deep"]
    assert os.listdir(tmp_path / "deep") == ["target"]


def test_json_is_sorted_utf8_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "a": "ä",\n  "b": 1\n}\n'.encode()
    write_text(tmp_path / "a.txt", "ä\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\n".encode()


def test_json_keeps_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.pdf")
    write_json(tmp_path / "a.json", {name: 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {name: 1}
