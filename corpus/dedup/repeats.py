"""Paragraphs that stand in more than one place of the corpus, in bounded memory.

Hashes are dealt into bucket files by their leading bits, so that equal ones share a bucket; each
bucket is sorted on its own. Memory holds one bucket, however large the corpus is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

ENTRY = np.dtype([("hash", "<u8"), ("rank", "<u4"), ("place", "<u4")])
"""A paragraph: its hash, its document's rank, and its place among that document's."""

BUCKET_ROWS = 2_000_000
"""Paragraphs per bucket, on average: 32 MB."""

Entries = npt.NDArray[np.void]


class ParagraphBuckets:
    """Entries on disk, in buckets of equal leading bits."""

    def __init__(self, folder: Path, entries: int, bucket_rows: int = BUCKET_ROWS) -> None:
        """Opens empty buckets.

        Args:
            folder: where they lie; made here.
            entries: how many paragraphs will come.
            bucket_rows: how many of them a bucket should hold.
        """
        folder.mkdir(parents=True)
        self._bits = max(0, (-(-entries // bucket_rows) - 1).bit_length())
        self._paths = [folder / f"{number}.bin" for number in range(2**self._bits)]

    def add(self, entries: Entries) -> None:
        """Deals entries into the buckets."""
        number = entries["hash"] >> np.uint64(64 - self._bits) if self._bits else None
        for at, path in enumerate(self._paths):
            part = entries if number is None else entries[number == at]
            if len(part):
                with path.open("ab") as file:
                    file.write(part.tobytes())

    def repeats(self) -> Iterator[tuple[Entries, npt.NDArray[np.uint32]]]:
        """Yields, bucket by bucket, the entries to cut and the rank of the document that keeps.

        The first place by (rank, place) keeps its paragraph. Entries come ordered by these two.
        """
        for path in self._paths:
            if path.exists():
                entries = np.fromfile(path, dtype=ENTRY)
                path.unlink()
                yield first_of_equal(entries)


def first_of_equal(entries: Entries) -> tuple[Entries, npt.NDArray[np.uint32]]:
    """Returns the entries that repeat an earlier one, and the rank of the earliest's document."""
    order = np.lexsort((entries["place"], entries["rank"], entries["hash"]))
    entries = entries[order]
    first = np.append(True, np.diff(entries["hash"]) != 0)[: len(entries)]
    keeper = entries["rank"][first][np.cumsum(first) - 1]
    entries, keeper = entries[~first], keeper[~first]
    order = np.lexsort((entries["place"], entries["rank"]))
    return entries[order], keeper[order]
