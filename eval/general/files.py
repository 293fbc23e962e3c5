"""Finds a split of a benchmark's data set among the files of a folder.

The folder is a snapshot of the data set's repository on the Hub: its card (``README.md``) says
which files make which split. Without a card, names say it: ``test-00000-of-00001.parquet``,
``gpqa_main.csv``, ``algebra/test.jsonl``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import InputError
from core.front_matter import split_front_matter
from core.sources import find_files
from core.storage.inputs import locate
from eval.general.tasks import Benchmark, Task

ENDINGS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")

_CARD = "README.md"
_SPLITS = ("train", "test", "validation", "dev", "murder_mysteries", "object_placements")
_ALSO = {
    "murder_mysteries": ("murder_mystery",),
    "object_placements": ("object_placement",),
    "validation": ("dev", "val"),
}
"""Other names that a split's files go by, in the benchmarks' own repositories."""


def split_files(root: Path, path: str, benchmark: Benchmark, task: Task, split: str) -> list[Path]:
    """Returns the files of a task's split, sorted.

    Args:
        root: what relative paths start from.
        path: the recipe's folder or file.
        benchmark: the benchmark.
        task: one of its tasks.
        split: one of the task's.

    Raises:
        InputError: there are none, or which ones cannot be told.
    """
    where = f"eval.general.tasks, {benchmark.name}: path"
    files = find_files(root, [path], ENDINGS, where)
    folder = locate(root, path)
    if folder.is_file():
        return files if task.config is None or len(benchmark.tasks) == 1 else _one(files, task)
    # Tools keep notes and caches in hidden folders beside the data.
    files = [f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts)]
    found = _by_card(folder, task, split) or _by_name(files, folder, task, split)
    if not found:
        config = f" of '{task.config}'" if task.config else ""
        raise InputError(
            f"no file for the split '{split}'{config} ({task.name})",
            where=str(folder),
            remedy=f"put a copy of the data set {benchmark.data} there, as the Hub has it; "
            "docs/general.md says how",
        )
    return found


def _one(files: list[Path], task: Task) -> list[Path]:
    return [file for file in files if _names(file.stem, task.config or "")]


def _by_card(folder: Path, task: Task, split: str) -> list[Path]:
    """Returns the files that the data set's card names for the split."""
    try:
        front, _ = split_front_matter((folder / _CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    patterns = [p for config in _configs(front, task.config) for p in _patterns(config, split)]
    found = {
        file
        for pattern in patterns
        if not PurePosixPath(pattern).is_absolute() and ".." not in PurePosixPath(pattern).parts
        for file in folder.glob(pattern)
        if file.suffix.lower() in ENDINGS
    }
    return sorted(found)


def _configs(front: dict[str, Any], name: str | None) -> Iterator[dict[str, Any]]:
    configs = front.get("configs")
    listed = [one for one in configs if isinstance(one, dict)] if isinstance(configs, list) else []
    for config in listed:
        named = config.get("config_name", "default")
        if named == name or (name is None and (named == "default" or len(listed) == 1)):
            yield config


def _patterns(config: dict[str, Any], split: str) -> Iterator[str]:
    files = config.get("data_files")
    base = config.get("data_dir") or ""
    for entry in files if isinstance(files, list) else [files]:
        if isinstance(entry, dict) and entry.get("split") == split:
            paths = entry.get("path")
            for path in paths if isinstance(paths, list) else [paths]:
                if isinstance(path, str) and path:
                    yield f"{base}/{path}" if base else path
        elif isinstance(entry, str) and split == "train":
            # The Hub takes files without a split for a training set.
            yield f"{base}/{entry}" if base else entry


def _by_name(files: list[Path], folder: Path, task: Task, split: str) -> list[Path]:
    if task.config is not None:
        files = [f for f in files if _belongs(f.relative_to(folder), task.config)]
    names = (split, *_ALSO.get(split, ()))
    for name in names:
        if found := [f for f in files if _belongs(f.relative_to(folder), name)]:
            return found
    # A data set of one file needs no split in its name: ifeval_input_data.jsonl, gpqa_main.csv.
    unnamed = [f for f in files if not any(_belongs(f.relative_to(folder), s) for s in _SPLITS)]
    return unnamed if len(unnamed) == 1 and task.shots_split is None else []


def _belongs(path: Path, name: str) -> bool:
    return name in path.parts[:-1] or _names(path.stem, name)


def _names(stem: str, name: str) -> bool:
    """Returns whether a file's stem is the name, alone or before a number of a shard."""
    return re.fullmatch(rf"{re.escape(name)}(?:[-_.]\d+)?(?:[-_.]of[-_.]\d+)?", stem) is not None
