"""What the sources gave: documents by source, year, category and licence, and what was rejected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from core.errors import InputError
from core.manifest import Manifest
from core.runner.commit import REJECTS
from core.schema import DOCUMENT_STAGES
from core.shards import shard_paths
from core.stage import StageContext

_COUNTED = ("corpus.catalog", "corpus.ingest")
"""Stages that count by source themselves."""
_LATER = tuple(name for name in reversed(DOCUMENT_STAGES) if name not in _COUNTED)
"""Stages whose rejects are traced to their source by document id."""


@dataclass(frozen=True)
class SourceSummary:
    """Counts of one source.

    Args:
        name: the source.
        documents: that ingest made.
        rejects: rows by ``stage: reason``, in stage order, the largest first.
    """

    name: str
    documents: int = 0
    rejects: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """Counts of a corpus.

    Args:
        sources: one each, in the recipe's order.
        years: (source, year, documents); year 0 where no date is known.
        categories: (source, primary category, documents), the largest first.
        licenses: (source, licence, documents), the largest first.
    """

    sources: list[SourceSummary]
    years: list[tuple[str, int, int]]
    categories: list[tuple[str, str, int]]
    licenses: list[tuple[str, str, int]]


def summarize(ctx: StageContext, names: Iterable[str]) -> Summary:
    """Counts what ingest made and what was rejected on the way.

    Args:
        ctx: the run.
        names: the recipe's sources.

    Raises:
        InputError: ingest has not run.
    """
    shards = shard_paths(ctx.folder("corpus.ingest"))
    if not shards:
        raise InputError(
            "there are no documents to count",
            where=str(ctx.folder("corpus.ingest")),
            remedy="run it first: astromill run RECIPE --until corpus.ingest",
        )
    documents = pl.scan_parquet(shards)
    rejects = _rejects(ctx, documents)
    counts = dict(_count(documents, pl.lit("")).select("source", "documents").iter_rows())
    return Summary(
        sources=[
            SourceSummary(name, counts.get(name, 0), rejects.get(name, {}))
            for name in dict.fromkeys(names)
        ],
        years=sorted(_rows(_count(documents, pl.col("created").dt.year().fill_null(0)))),
        categories=_rows(_count(documents, _primary_category())),
        licenses=_rows(_count(documents, pl.col("license").fill_null("none stated"))),
    )


def _primary_category() -> pl.Expr:
    # arXiv: one string, separated by spaces; Wikipedia: a list of names.
    meta = pl.col("meta").str
    words = meta.json_path_match("$.categories").str.split(" ").list.first()
    first = pl.coalesce(meta.json_path_match("$.categories[0]"), words)
    return first.fill_null("").replace("[]", "")


def _count(documents: pl.LazyFrame, key: pl.Expr) -> pl.DataFrame:
    return (
        documents.group_by("source", key.alias("key"))
        .agg(pl.len().alias("documents"))
        .sort("documents", "source", "key", descending=[True, False, False])
        .collect()
    )


def _rows(counts: pl.DataFrame) -> list[tuple[str, Any, int]]:
    rows = counts.select("source", "key", "documents").iter_rows()
    return [row for row in rows if row[1] != ""]


def _rejects(ctx: StageContext, documents: pl.LazyFrame) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for stage in _COUNTED:
        manifest = Manifest.load(ctx.folder(stage))
        metrics = manifest.metrics if manifest else {}
        for key, count in sorted(metrics.items(), key=lambda item: (-item[1], item[0])):
            source, _, reason = key.rpartition("/")
            if source and reason not in ("documents", "entries"):
                found.setdefault(source, {})[f"{stage.split('.')[1]}: {reason}"] = int(count)
    for stage in _LATER:
        shards = shard_paths(ctx.folder(stage) / REJECTS)
        if not shards or Manifest.load(ctx.folder(stage)) is None:
            continue
        counts = _count(
            pl.scan_parquet(shards).join(documents.select("doc_id", "source"), on="doc_id"),
            pl.col("reason"),
        )
        for source, reason, count in _rows(counts):
            found.setdefault(source, {})[f"{stage.split('.')[1]}: {reason}"] = count
    return found
