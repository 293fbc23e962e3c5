"""One unit of work, from plan to durable output: shard, rejects, then the receipt.

A unit's old receipt goes first and its new one is written last. A shard counts as done only when
its receipt carries the unit's key and the files it names are there; anything else is done again.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.atomic import write_json
from core.errors import InputError, StageError
from core.hashing import sha256_file, sha256_value
from core.manifest import FileEntry, file_bytes
from core.rejects import rejects_table
from core.shards import shard_name, write_shard
from core.stage import ShardResult, ShardStage, StageContext, Unit

RECEIPTS = "receipts"
REJECTS = "rejects"


@dataclass(frozen=True)
class Receipt:
    """What one finished unit of work made."""

    index: int
    key: str
    files: list[FileEntry]
    rows_in: int
    rows_out: int
    rows_rejected: int
    rejects: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, int | float] = field(default_factory=dict)
    seconds: float = 0.0
    node: str = ""

    @classmethod
    def load(cls, path: Path) -> Receipt | None:
        """Returns the receipt, or None where there is no readable one."""
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            files = [FileEntry(**f) for f in data.pop("files")]
            return cls(files=files, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def unit_key(
    stage: ShardStage, ctx: StageContext, unit: Unit, config_digest: str | None = None
) -> str:
    """Returns the hash of all that a unit's output depends on.

    ``config_digest`` is the stage's, where the caller has it for many units at once.
    """
    return sha256_value([config_digest or stage.config_digest(ctx), unit.index, unit.digest])


def receipt_path(folder: Path, index: int) -> Path:
    """Returns where the receipt of output shard ``index`` is kept."""
    return folder / RECEIPTS / f"{index:05d}.json"


def finished(
    stage: ShardStage, ctx: StageContext, unit: Unit, config_digest: str | None = None
) -> Receipt | None:
    """Returns the receipt of a unit that need not be done again, or None."""
    folder = ctx.place(stage.name)
    receipt = Receipt.load(receipt_path(folder, unit.index))
    if receipt is None or receipt.key != unit_key(stage, ctx, unit, config_digest):
        return None
    if receipt.rows_in != receipt.rows_out + receipt.rows_rejected:
        return None  # damaged
    if any(file_bytes(f"{folder}/{entry.name}") != entry.bytes for entry in receipt.files):
        return None
    return receipt


def numbered(folder: Path, prefix: str, ending: str) -> Iterator[tuple[int, str]]:
    """Yields number and name of the files ``<prefix><number><ending>`` in a folder, unordered."""
    with os.scandir(folder) as found:
        for each in found:
            number = each.name.removeprefix(prefix).removesuffix(ending)
            if number.isdecimal() and each.name == f"{prefix}{number}{ending}":
                yield int(number), each.name


def process_unit(stage: ShardStage, ctx: StageContext, unit: Unit) -> Receipt:
    """Does one unit of work and makes its output durable.

    Raises:
        InputError: a shard that it reads is not what its stage wrote.
        StageError: the stage's rows do not add up.
    """
    started = time.monotonic()
    folder = ctx.place(stage.name)
    _check_inputs(stage, ctx, unit)
    result = stage.process(unit, ctx)
    rows_out = result.kept.num_rows if result.rows_out is None else result.rows_out
    rejected = len(result.rejected) if result.rows_rejected is None else result.rows_rejected
    _check_account(stage, unit, result, rows_out, rejected)
    name = shard_name(unit.index)
    # An old receipt beside a new shard would tell a lie, once the recipe is as it was then.
    receipt_path(folder, unit.index).unlink(missing_ok=True)
    kept = result.kept.select(stage.schema.names).cast(stage.schema)
    write_shard(folder / name, kept, stage.row_group_rows)
    files = [_entry(folder, name, result.kept.num_rows)]
    reject_name = f"{REJECTS}/{name}"
    if result.rejected:
        write_shard(folder / reject_name, rejects_table(stage.name, result.rejected))
        files.append(_entry(folder, reject_name, len(result.rejected)))
    else:
        (folder / reject_name).unlink(missing_ok=True)
    receipt = Receipt(
        index=unit.index,
        key=unit_key(stage, ctx, unit),
        files=files,
        rows_in=result.rows_in,
        rows_out=rows_out,
        rows_rejected=rejected,
        rejects=dict(sorted(Counter(r.reason.value for r in result.rejected).items())),
        metrics=result.metrics,
        seconds=round(time.monotonic() - started, 3),
        node=socket.gethostname(),
    )
    write_json(receipt_path(folder, unit.index), asdict(receipt))
    return receipt


def _entry(folder: Path, name: str, rows: int) -> FileEntry:
    path = folder / name
    return FileEntry(name, path.stat().st_size, sha256_file(path), rows)


def _check_inputs(stage: ShardStage, ctx: StageContext, unit: Unit) -> None:
    """Compares the unit's shards with their manifests' hashes: damage may read as other text."""
    for name, wanted in zip(stage.aligned, unit.payload.get("sha256", ()), strict=False):
        path = ctx.folder(name) / unit.payload["shard"]
        try:
            found = sha256_file(path)
        except OSError:
            continue  # reading it says what is wrong
        if found != wanted:
            raise InputError(
                f"this shard is not what {name} wrote (sha256 {wanted[:12]}, now {found[:12]})",
                where=str(path),
                remedy="it is damaged: delete it and run again; it is then made anew",
            )


def _check_account(
    stage: ShardStage, unit: Unit, result: ShardResult, rows_out: int, rejected: int
) -> None:
    if result.rows_in != rows_out + rejected:
        raise StageError(
            f"rows do not add up: {result.rows_in} {stage.row_unit}s in, "
            f"{rows_out} out, {rejected} rejected",
            where=f"{stage.name}, shard {unit.index}",
            remedy="this is a fault in the stage's code; please report it with the shard",
        )
