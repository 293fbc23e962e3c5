from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core import sources
from core.errors import InputError
from core.hashing import sha256_file
from core.rejects import Reason
from core.sources import LeftOut, SourceIndex, find_files


def _write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def _names(root: Path, *patterns: str) -> list[str]:
    found = find_files(root, patterns, (".md",), "corpus.sources.0.paths")
    return [p.relative_to(root).as_posix() for p in found]


def test_files_folders_and_patterns_each_file_once_sorted(tmp_path: Path) -> None:
    _write(tmp_path, "b/x.md", "b/deep/Y.MD", "b/z.txt", "a.md", "c.txt")
    assert _names(tmp_path, "b") == ["b/deep/Y.MD", "b/x.md"]
    assert _names(tmp_path, "b/x.md", "a.md", "*.md", "b") == ["a.md", "b/deep/Y.MD", "b/x.md"]
    # A file named outright, or by a pattern, may end as it likes.
    assert _names(tmp_path, "c.txt", "b/*.txt") == ["b/z.txt", "c.txt"]
    assert _names(tmp_path, "**/*.md") == ["a.md", "b/x.md"]
    assert _names(tmp_path, str(tmp_path / "b" / "*.md")) == ["b/x.md"]


def test_a_root_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    root = tmp_path / "run [1]"
    _write(root, "a.md", "b[2].md")
    assert _names(root, "*.md") == ["a.md", "b[2].md"]
    assert _names(root, "b[2].md") == ["b[2].md"]


@pytest.mark.parametrize("pattern", ["absent", "absent/*.md", "empty", "only_text"])
def test_a_pattern_that_names_nothing_is_an_error(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    _write(tmp_path, "a.md", "only_text/x.txt")
    with pytest.raises(InputError, match=f"no file found for '{pattern.split('*')[0]}") as error:
        _names(tmp_path, "a.md", pattern)
    assert error.value.where == "corpus.sources.0.paths"
    assert str(tmp_path) in error.value.remedy


def test_a_linked_folder_is_not_entered_but_a_linked_file_is_read(tmp_path: Path) -> None:
    _write(tmp_path, "in/a.md", "out/b.md")
    (tmp_path / "in" / "cycle").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "c.md").symlink_to(tmp_path / "out" / "b.md")
    assert _names(tmp_path, "in") == ["in/a.md", "in/c.md"]


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    _write(tmp_path, "in/a.md", "in/deep/b.md", "out/c.md")
    links = {"dead.md": "gone", "loop.md": "loop.md", "self": ".", "away": tmp_path / "out"}
    for name, target in links.items():
        (tmp_path / "in" / name).symlink_to(target)
    os.mkfifo(tmp_path / "in" / "pipe.md")
    (tmp_path / "in" / "folder.md").mkdir()
    for pattern in ("in", "in/**/*.md"):
        left: list[LeftOut] = []
        found = find_files(tmp_path, [pattern], (".md",), "x", left)
        names = [path.relative_to(tmp_path / "in").as_posix() for path in found]
        told = [(each.path.name, each.reason) for each in left]
        if pattern == "in":
            assert names == ["a.md", "deep/b.md"]
            assert told == [
                ("away", Reason.LINK_OUT),
                ("dead.md", Reason.UNREADABLE_FILE),
                ("loop.md", Reason.UNREADABLE_FILE),
                ("pipe.md", Reason.UNREADABLE_FILE),
            ]
        else:
            assert names == ["a.md", "away/c.md", "deep/b.md"]
            assert [name for name, _ in told] == ["dead.md", "loop.md", "pipe.md"]


def test_links_in_a_circle_do_not_keep_a_pattern_busy(tmp_path: Path) -> None:
    _write(tmp_path, "in/a.md", ".hidden/b.md")
    for name in ("one", "two", "three"):  # glob.glob finds 3**40 ways through these
        (tmp_path / "in" / name).symlink_to(tmp_path)
    assert _names(tmp_path, "**/*.md") == ["in/a.md"]
    assert _names(tmp_path, "in/**") == ["in/a.md"]
    assert _names(tmp_path, f"{tmp_path}/**/in/**/*.md") == ["in/a.md"]


@pytest.mark.parametrize("pattern", ["x" * 5000, "a\0b", "[" * 50])
def test_a_path_that_can_be_none_is_not_found(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="no file found"):
        _names(tmp_path, pattern)


def test_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    with pytest.raises(InputError, match="not a regular file"):
        SourceIndex(tmp_path, tmp_path / "cache.json").hashes([tmp_path / "pipe.md"])


def test_hashes_are_named_from_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _write(root, "deep/a.md")
    _write(tmp_path, "b.md")
    index = SourceIndex(root, tmp_path / "cache.json")
    inside, outside = root / "deep" / "a.md", tmp_path / "b.md"
    assert index.hashes([inside, outside]) == {
        "deep/a.md": sha256_file(inside),
        str(outside): sha256_file(outside),
    }


def test_only_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "a.md", "b.md")
    read: list[str] = []

    def counting(path: Path) -> str:
        read.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(sources, "sha256_file", counting)
    files = [tmp_path / "a.md", tmp_path / "b.md"]

    def look() -> dict[str, str]:
        read.clear()
        return SourceIndex(tmp_path, tmp_path / "cache" / "sources.json").hashes(files)

    first = look()
    assert sorted(read) == ["a.md", "b.md"]
    assert look() == first
    assert read == []

    info = files[0].stat()
    files[0].write_text("A.md")  # the same size, the same time: not seen
    os.utime(files[0], ns=(info.st_atime_ns, info.st_mtime_ns))
    assert look() == first
    os.utime(files[0], ns=(info.st_atime_ns, info.st_mtime_ns + 1))
    second = look()
    assert read == ["a.md"]
    assert second == {**first, "a.md": sha256_file(files[0])}

    files[1].write_text("longer than before")
    os.utime(files[1], ns=(info.st_atime_ns, info.st_mtime_ns))
    look()
    assert read == ["b.md"]


@pytest.mark.parametrize("cache", ["", "{broken", "[]", "null"])
def test_a_broken_cache_is_made_anew(tmp_path: Path, cache: str) -> None:
    _write(tmp_path, "a.md")
    (tmp_path / "cache.json").write_text(cache)
    index = SourceIndex(tmp_path, tmp_path / "cache.json")
    assert index.hashes([tmp_path / "a.md"]) == {"a.md": sha256_file(tmp_path / "a.md")}
    assert list(json.loads((tmp_path / "cache.json").read_text())) == [str(tmp_path / "a.md")]


def test_the_digest_knows_names_and_contents_but_not_the_order(tmp_path: Path) -> None:
    _write(tmp_path, "a.md", "b.md")
    index = SourceIndex(tmp_path, tmp_path / "cache.json")
    a, b = tmp_path / "a.md", tmp_path / "b.md"
    both = index.digest([a, b])
    assert index.digest([b, a]) == both
    assert index.digest([a]) != both
    a.rename(tmp_path / "c.md")
    assert index.digest([tmp_path / "c.md", b]) != both


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "dead.md").symlink_to(tmp_path / "gone")
    index = SourceIndex(tmp_path, tmp_path / "cache.json")
    with pytest.raises(InputError, match="No such file") as error:
        index.digest(find_files(tmp_path, ["in"], (".md",), "x"))
    assert error.value.where == str(tmp_path / "in" / "dead.md")


def test_a_name_that_is_not_utf8_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.md")
    path.write_text("x")
    for _ in range(2):
        hashes = SourceIndex(tmp_path, tmp_path / "cache.json").hashes([path])
        assert hashes == {path.name: sha256_file(path)}
