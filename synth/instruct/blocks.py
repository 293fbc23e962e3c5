"""Cuts instruction files into blocks that workers read side by side, each in bounded memory.

JSON files are cut by bytes, whatever lies there: a record belongs to the block that it begins in.
Parquet files are cut by rows. What a file holds is told from its first bytes and not from its name:
sets on the hub keep JSON lines in ``.json`` files too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError
from core.parquet_rows import doubled_column

Kind = Literal["lines", "array", "object", "parquet"]

ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet")
"""Files looked for in folders."""

BLOCK_BYTES = 64 << 20
"""Of a block's records, before they are parsed: about 1 GB as Python objects and columns."""

RECORD_BYTES = 16 << 20
"""The longest record: no conversation is that long, so it is a file that is no list of them."""

_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Block:
    """A stretch of a file.

    Args:
        file: its path from the recipe's root.
        label: what the ids of its records begin with; unique in its set.
        kind: how records lie in it: one a line, elements of an array, one object, Parquet rows.
        start, end: bytes, or rows of Parquet; ``end`` is exclusive.
    """

    file: str
    label: str
    kind: Kind
    start: int
    end: int

    def payload(self) -> dict[str, Any]:
        """Returns it as plain JSON values."""
        return asdict(self)


def file_blocks(path: Path, name: str, label: str, block_bytes: int = BLOCK_BYTES) -> list[Block]:
    """Returns a file's blocks; one at least.

    Args:
        path: the file.
        name: how the recipe knows it.
        label: see :class:`Block`.
        block_bytes: size aimed at.

    Raises:
        InputError: its ending is not known, or it is no Parquet file though it says so.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"cannot read instruction data from a '{path.suffix}' file",
            where=str(path),
            remedy=f"unpack or convert it; endings that are read: {', '.join(ENDINGS)}",
        )
    if path.suffix.lower() == ".parquet":
        total, step = _parquet_rows(path, block_bytes)
        kind: Kind = "parquet"
    else:
        kind, total = _json_kind(path), path.stat().st_size
        step = max(1, total if kind == "object" else block_bytes)
    starts = range(0, max(total, 1), step)
    return [Block(name, label, kind, at, min(at + step, total)) for at in starts]


def file_labels(paths: Sequence[Path]) -> dict[Path, str]:
    """Returns a short name for each file: its own, with folders in front where names repeat.

    Not the whole path: where the data lies must not change the ids.
    """
    depth = dict.fromkeys(paths, 1)
    while True:
        labels = {path: "/".join(path.parts[-depth[path] :]) for path in paths}
        counts = Counter(labels.values())
        longer = [p for p in paths if counts[labels[p]] > 1 and depth[p] < len(p.parts)]
        if not longer:
            return labels
        for path in longer:
            depth[path] += 1


def _json_kind(path: Path) -> Kind:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
        listed = head.startswith(b"[")
        if not listed and path.suffix.lower() != ".json":
            return "lines"
        file.seek(0)
        first = file.readline(RECORD_BYTES).removeprefix(b"\xef\xbb\xbf")
        more = file.read(_HEAD_BYTES).strip()
    try:
        value = json.loads(first) if more else None
    except (ValueError, RecursionError):
        value = None
    if listed:
        # Lists of turns, one a line, are no array of records.
        turns = isinstance(value, list) and any(map(_is_turn, value))
        return "lines" if turns else "array"
    return "object" if value is None else "lines"


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.keys() & {"role", "from"})


def _parquet_rows(path: Path, block_bytes: int) -> tuple[int, int]:
    """Returns the rows of a file, and how many make a block."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error
    if twice := doubled_column(file.schema_arrow):
        raise InputError(
            f"two columns are named '{twice}'",
            where=str(path),
            remedy="rename or remove one of them",
        )
    metadata = file.metadata
    groups = [metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)]
    row_bytes = max(1, sum(groups) // max(1, metadata.num_rows))
    return metadata.num_rows, max(1, block_bytes // row_bytes)


def unreadable(path: Path, error: Exception) -> InputError:
    """Returns the error for a Parquet file that is none."""
    return InputError(
        f"cannot read this Parquet file: {f'{error} '.splitlines()[0].strip()}",
        where=str(path),
        remedy="it is truncated, corrupt or not Parquet: fetch it again",
    )
