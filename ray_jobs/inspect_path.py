"""Show what a dataset holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.counted import counted
from core.errors import InputError
from core.manifest import Manifest
from core.runner.commit import REJECTS
from core.shards import count_rows, read_shard, shard_paths

_CELL_CHARS = 200
_CONTROLS = dict.fromkeys(
    [*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}"
)
"""What a text from outside could steer the terminal with."""


def inspect_path(path: Path, rows: int, console: Console) -> None:
    """Shows a stage folder or one Parquet file.

    Args:
        path: what to look at.
        rows: first rows to show.
        console: where to write.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    if path.is_file():
        shards = [path]
    else:
        shards = shard_paths(path)
        manifest = Manifest.load(path)
        if manifest is not None:
            _show_manifest(manifest, console)
        elif not shards:
            raise InputError(
                "this is neither a stage folder nor a Parquet file"
                if path.exists()
                else "there is no such folder or file",
                where=str(path),
                remedy="name a folder such as runs/demo/corpus/filter, or a .parquet file",
            )
    _show_rejects(path / REJECTS, console)
    if shards:
        total = sum(count_rows(shard) for shard in shards)
        console.print(f"{counted(len(shards), 'shard')}, {counted(total, 'row')}", highlight=False)
        _show_schema(shards[0], console)
        for row in _first_rows(shards, rows):
            _show_row(row, console)


def _show_manifest(manifest: Manifest, console: Console) -> None:
    adds_up = manifest.rows_in == manifest.rows_out + manifest.rows_rejected
    console.print(
        f"[bold]{manifest.stage}[/bold]: {counted(manifest.rows_in, manifest.row_unit)} in = "
        f"{manifest.rows_out:,} out + {manifest.rows_rejected:,} rejected "
        f"({'adds up' if adds_up else '[red]does NOT add up[/red]'})",
        highlight=False,
    )
    for name, value in sorted(manifest.metrics.items()):
        if isinstance(value, int | float):
            # A source's name may look like markup.
            console.print(f"  {name}: {value:,}", highlight=False, markup=False)


def _show_rejects(folder: Path, console: Console) -> None:
    shards = shard_paths(folder)
    if not shards:
        return
    by_reason = pl.scan_parquet(shards).group_by("reason")
    example = pl.col("detail").first().alias("example")
    try:
        counts = by_reason.agg(pl.len().alias("rows"), example).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"cannot read the rejects: {str(error).splitlines()[0]}",
            where=str(folder),
            remedy="a shard in it is truncated or corrupt: delete that and run again; it is then "
            "made anew",
        ) from error
    counts = counts.sort("rows", "reason", descending=[True, False])
    table = Table("reason", "rows", "example", title="rejects")
    for row in counts.iter_rows(named=True):
        table.add_row(row["reason"], f"{row['rows']:,}", escape(_short(row["example"])))
    console.print(table)


def _show_schema(shard: Path, console: Console) -> None:
    types = Table("column", "type", title="schema")
    for field in pq.read_schema(shard):
        types.add_row(escape(field.name), escape(str(field.type)))
    console.print(types)


def _first_rows(shards: Sequence[Path], rows: int) -> Iterator[dict[str, Any]]:
    for shard in shards:
        if rows <= 0:
            return
        table = read_shard(shard)
        yield from table.slice(0, rows).to_pylist()
        rows -= table.num_rows


def _show_row(row: dict[str, Any], console: Console) -> None:
    shown = Table("column", "value", show_header=False, title=None)
    for name, value in row.items():
        shown.add_row(escape(name), escape(_short(value)))
    console.print(shown)


def _short(value: Any) -> str:
    text = str(value).translate(_CONTROLS)
    return (
        text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}... ({len(text):,} characters)"
    )
