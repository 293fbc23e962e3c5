"""A dataset is a folder of Parquet shards, a rejects folder, a manifest and a card.

::

    corpus/normalize/
      part-00000.parquet  part-00001.parquet ...
      rejects/part-00000.parquet ...
      receipts/00000.json ...      one per finished shard, with timings; not part of the data
      manifest.json  README.md

Shards are written under a temporary name and moved into place; reading streams record batches.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.atomic import atomic_file
from core.errors import InputError
from core.storage.mirror import make_local, make_shards_local

ROW_GROUP_ROWS = 4096
"""Rows per row group unless a stage says otherwise: a few MB, so that a reader streams."""

_READ_ERRORS = (pa.ArrowException, OSError)


def shard_name(index: int) -> str:
    """Returns the file name of shard ``index``: ``part-00000.parquet``."""
    return f"part-{index:05d}.parquet"


def shard_paths(folder: Path) -> list[Path]:
    """Returns the shards of a dataset folder, in order."""
    make_shards_local(folder)
    # By length first: the 100,000th has a digit more, and comes after the one before it.
    return sorted(folder.glob("part-*.parquet"), key=lambda path: (len(path.name), path.name))


def write_shard(path: Path, table: pa.Table, row_group_rows: int = ROW_GROUP_ROWS) -> None:
    """Writes a table as one zstd Parquet shard, atomically. Same table, same bytes."""
    with atomic_file(path) as temporary:
        pq.write_table(
            table.combine_chunks(),
            temporary,
            compression="zstd",
            compression_level=3,
            row_group_size=row_group_rows,
            store_schema=True,
            # A bit that fell over on the disk may decode all the same, to other text.
            write_page_checksum=True,
        )


def _unreadable(path: Path, error: Exception) -> Exception:
    """Returns what to raise: what is no fault of the file must not have it deleted."""
    if isinstance(error, MemoryError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE):
        remedy = "the file may be good: mend what the message says, and run again"
    elif number == errno.ENOENT:
        remedy = "run again: a shard that astromill made is made anew; or restore your own file"
    else:
        remedy = (
            "it is truncated or corrupt: delete it and run again (a shard that astromill "
            "made is then rebuilt), or restore your own file"
        )
    return InputError(
        f"cannot read this Parquet shard: {f'{error} '.splitlines()[0].strip()}",
        where=str(path),
        remedy=remedy,
    )


def _open(path: Path) -> pq.ParquetFile:
    # memory_map off: a file replaced under a running reader must not fault it.
    return pq.ParquetFile(path, memory_map=False, page_checksum_verification=True)


def read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads one shard.

    Raises:
        InputError: the file is missing, truncated or not Parquet.
    """
    make_local(path)
    try:
        return _open(path).read(columns=columns)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error


def stream_batches(
    folder: Path, columns: list[str] | None = None, batch_rows: int = 1024
) -> Iterator[pa.RecordBatch]:
    """Streams a dataset's rows in shard order, ``batch_rows`` at a time.

    Raises:
        InputError: a shard is missing, truncated or not Parquet.
    """
    for path in shard_paths(folder):
        try:
            yield from _open(path).iter_batches(batch_size=batch_rows, columns=columns)
        except _READ_ERRORS as error:
            raise _unreadable(path, error) from error


def count_rows(path: Path) -> int:
    """Returns a shard's rows from its footer.

    Raises:
        InputError: the file is missing, truncated or not Parquet.
    """
    make_local(path)
    try:
        return int(_open(path).metadata.num_rows)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
