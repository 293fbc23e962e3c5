"""The manifest: what a stage made, from what, and how its rows add up. Written last.

It holds no time and no absolute path, so two equal runs have equal manifests byte for byte;
timings are beside it in ``timings.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from core.atomic import atomic_file
from core.errors import InputError
from core.file_list import FileEntry, FileList, batches
from core.hashing import canonical_json

__all__ = ["MANIFEST_NAME", "SOURCES_NAME", "TIMINGS_NAME", "FileEntry", "FileList", "Manifest"]

MANIFEST_NAME = "manifest.json"
TIMINGS_NAME = "timings.json"
SOURCES_NAME = "sources.json"


# The list of files as it stands in the text: top-level keys alone are two spaces in, and no JSON
# string holds a line break.
_NO_FILES = '\n  "files": [],\n'
_FILES_BEGIN = '  "files": [\n'
_FILES_ENDS = ("  ],\n", "  ]\n")
_ENTRY_END = ("    },\n", "    }\n")
_BATCH_ENTRIES = 512


@dataclass(frozen=True)
class Manifest:
    """A finished stage.

    Args:
        stage: its name.
        code_version: of the stage when it ran.
        config: its part of the recipe.
        seed: the recipe's seed.
        inputs: fingerprints of the stages it read.
        input_digests: content hashes of their outputs, as they were read.
        sources_digest: hash over the files outside the run that it read.
        fingerprint: hash of all of the above: what ``status`` compares.
        key: the same with the inputs' content instead of their fingerprints: an input that was
            recomputed to the same bytes does not cost this stage a rerun.
        files: every output file; rejects shards included.
        row_unit, rows_in, rows_out, rows_rejected: the account; in = out + rejected.
        rejects: rejected rows by reason.
        metrics: counts and results of the stage.
        volatile: output files that hold dates or timings, so their content is not hashed; those
            of the stage's that it wrote.
    """

    stage: str
    code_version: int
    config: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    input_digests: dict[str, str]
    sources_digest: str
    fingerprint: str
    key: str
    files: Sequence[FileEntry]
    row_unit: str
    rows_in: int
    rows_out: int
    rows_rejected: int
    rejects: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    reconcile: str = ""
    volatile: list[str] = field(default_factory=list)

    @cached_property
    def shards(self) -> Sequence[FileEntry]:
        """The data shards, in order."""
        files = self.files if isinstance(self.files, FileList) else FileList(self.files)
        return files.named("part-")

    @cached_property
    def digest(self) -> str:
        """Hash of the content: names, hashes and nothing else."""
        # The hash of the canonical JSON of [[name, hash], ...], without the whole text in memory.
        found = hashlib.sha256(b"[")
        for number, batch in enumerate(batches(self.files, _BATCH_ENTRIES)):
            text = canonical_json([[file.name, file.sha256] for file in batch])
            between = "," if number else ""
            found.update(f"{between}{text[1:-1]}".encode("utf-8", "surrogatepass"))
        found.update(b"]")
        return found.hexdigest()

    def intact(self, folder: Path) -> bool:
        """Returns whether every output file is there, the hashed ones at their full size."""
        return all((folder / name).is_file() for name in self.volatile) and all(
            file_bytes(f"{folder}/{file.name}") == file.bytes for file in self.files
        )

    def save(self, folder: Path) -> None:
        """Writes the manifest into the stage folder, atomically."""
        # As core.atomic.write_json would, but a list of files of any length streams through.
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["files"] = []
        text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        head, between, tail = text.partition(_NO_FILES)
        with (
            atomic_file(folder / MANIFEST_NAME) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(head)
            if self.files:
                file.write(f"\n{_FILES_BEGIN}")
                file.writelines(_entry_lines(self.files))
                file.write(f"\n{_FILES_ENDS[0]}")
            else:
                file.write(between)
            file.write(tail)

    @classmethod
    def load(cls, folder: Path) -> Manifest | None:
        """Returns the manifest of a stage folder, or None where there is no readable one."""
        try:
            with (folder / MANIFEST_NAME).open(encoding="utf-8") as file:
                data, files = _read(file)
            return cls(files=files, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    @classmethod
    def require(cls, folder: Path, stage: str) -> Manifest:
        """Returns the manifest of a stage that must have run.

        Raises:
            InputError: it has not.
        """
        manifest = cls.load(folder)
        if manifest is None:
            raise InputError(
                f"stage '{stage}' has no finished output",
                where=str(folder),
                remedy=f"run it first: astromill run RECIPE --until {stage}",
            )
        return manifest


def file_bytes(path: str | os.PathLike[str]) -> int | None:
    """Returns the size of a regular file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _entry_lines(files: Iterable[FileEntry]) -> Iterator[str]:
    """Yields the entries as ``json.dumps`` with two spaces of indent writes them in a list."""
    for number, file in enumerate(files):
        between = ",\n" if number else ""
        rows = "null" if file.rows is None else file.rows
        yield (
            f"{between}    {{\n"
            f'      "bytes": {file.bytes},\n'
            f'      "name": {canonical_json(file.name)},\n'
            f'      "rows": {rows},\n'
            f'      "sha256": {canonical_json(file.sha256)}\n'
            "    }"
        )


def _read(file: IO[str]) -> tuple[dict[str, Any], FileList]:
    """Returns the manifest's other values and its files, which are read as a stream.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is no manifest.
    """
    lines: list[str] = []
    files = FileList()
    for line in file:
        if line == _FILES_BEGIN:
            lines.append('  "files": [')
            files = FileList(_entries(file, lines))
        else:
            lines.append(line)
    data: dict[str, Any] = json.loads("".join(lines))
    # Files are here where the text is laid out in another way, by another hand.
    given = data.pop("files")
    return data, FileList(FileEntry(**entry) for entry in given) if given else files


def _entries(file: Iterable[str], lines: list[str]) -> Iterator[FileEntry]:
    """Yields the entries of the list whose first line comes next; its last goes to ``lines``."""
    batch: list[str] = []
    count = 0
    for line in file:
        done = line in _FILES_ENDS
        count += line in _ENTRY_END
        if not done:
            batch.append(line)
        if batch and (done or count == _BATCH_ENTRIES):
            for entry in json.loads(f"[{''.join(batch).rstrip().removesuffix(',')}]"):
                yield FileEntry(**entry)
            batch, count = [], 0
        if done:
            lines.append(line)
            return
    raise ValueError("the list of files does not end")
