"""Show what a dataset holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.errors import InputError
from core.manifest import Manifest
from core.runner.commit import REJECTS
from core.shards import count_rows, read_shard, shard_paths

_CELL_CHARS = 200


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
                "this is neither a stage folder nor a Parquet file",
                where=str(path),
                remedy="name a folder such as runs/demo/corpus/filter, or a .parquet file",
            )
    _show_rejects(path / REJECTS, console)
    if shards:
        total = sum(count_rows(shard) for shard in shards)
        console.print(f"{len(shards)} shards, {total:,} rows", highlight=False)
        _show_rows(shards[0], rows, console)


def _show_manifest(manifest: Manifest, console: Console) -> None:
    adds_up = manifest.rows_in == manifest.rows_out + manifest.rows_rejected
    console.print(
        f"[bold]{manifest.stage}[/bold]: {manifest.rows_in:,} {manifest.row_unit}s in = "
        f"{manifest.rows_out:,} out + {manifest.rows_rejected:,} rejected "
        f"({'adds up' if adds_up else '[red]does NOT add up[/red]'})",
        highlight=False,
    )
    for name, value in sorted(manifest.metrics.items()):
        if isinstance(value, int | float):
            console.print(f"  {name}: {value:,}", highlight=False)


def _show_rejects(folder: Path, console: Console) -> None:
    shards = shard_paths(folder)
    if not shards:
        return
    counts = (
        pl.scan_parquet(shards)
        .group_by("reason")
        .agg(pl.len().alias("rows"), pl.col("detail").first().alias("example"))
        .sort("rows", "reason", descending=[True, False])
        .collect()
    )
    table = Table("reason", "rows", "example", title="rejects")
    for row in counts.iter_rows(named=True):
        table.add_row(row["reason"], f"{row['rows']:,}", escape(_short(row["example"])))
    console.print(table)


def _show_rows(shard: Path, rows: int, console: Console) -> None:
    table = read_shard(shard)
    types = Table("column", "type", title="schema")
    for field in table.schema:
        types.add_row(field.name, str(field.type))
    console.print(types)
    for row in table.slice(0, rows).to_pylist():
        shown = Table("column", "value", show_header=False, title=None)
        for name, value in row.items():
            shown.add_row(name, escape(_short(value)))
        console.print(shown)


def _short(value: Any) -> str:
    text = str(value)
    return (
        text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}... ({len(text):,} characters)"
    )
