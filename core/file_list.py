"""The output files of a stage, packed: a manifest may name hundreds of thousands.

As objects they take about 400 bytes each, packed about 120.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

from core.hashing import canonical_json

_BATCH_ENTRIES = 512


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One output file: its name within the stage folder, size, hash and rows (shards only)."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None


class FileList(Sequence[FileEntry]):
    """A sequence of file entries that makes each one when it is asked for.

    Equal to any sequence of the same entries. To go through it is quick; to pick one entry reads
    the batch it is in.
    """

    __slots__ = ("_batches", "_count")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, entries: Iterable[FileEntry] = ()) -> None:
        """Takes the entries, a batch at a time."""
        # Text and not Arrow columns: Arrow would import pandas, a second for every command.
        self._batches: list[bytes] = []
        self._count = 0
        for batch in batches(entries, _BATCH_ENTRIES):
            values = [[entry.name, entry.bytes, entry.sha256, entry.rows] for entry in batch]
            self._batches.append(canonical_json(values).encode("utf-8", "surrogatepass"))
            self._count += len(batch)

    def named(self, prefix: str) -> FileList:
        """Returns the files whose names begin with ``prefix``, in order."""
        return FileList(entry for entry in self if entry.name.startswith(prefix))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[FileEntry]:
        for number in range(len(self._batches)):
            yield from self._batch(number)

    def _batch(self, number: int) -> Iterator[FileEntry]:
        text = self._batches[number].decode("utf-8", "surrogatepass")
        return (FileEntry(*values) for values in json.loads(text))

    @overload
    def __getitem__(self, at: int) -> FileEntry: ...

    @overload
    def __getitem__(self, at: slice) -> FileList: ...

    def __getitem__(self, at: int | slice) -> FileEntry | FileList:
        if isinstance(at, slice):
            return FileList(list(self)[at])
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        number, within = divmod(at % len(self), _BATCH_ENTRIES)
        return next(islice(self._batch(number), within, None))

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, FileList):
            return self._batches == other._batches
        if isinstance(other, Sequence) and len(other) == len(self):
            return all(ours == theirs for ours, theirs in zip(self, other, strict=True))
        return False

    def __repr__(self) -> str:
        shown = ", ".join(repr(entry) for entry in islice(self, 3))
        return f"<{len(self):,} files: {shown}{', ...' if len(self) > 3 else ''}>"


def batches(entries: Iterable[FileEntry], size: int) -> Iterator[list[FileEntry]]:
    """Yields the entries in lists of ``size``; the last may be shorter."""
    stream = iter(entries)
    while batch := list(islice(stream, size)):
        yield batch
