"""The corpus as the report shows it: what is in it, what perplexity cut, what was found twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.licences import OTHER, hub_licence
from core.manifest import Manifest
from core.rejects import Reason
from core.shards import shard_paths, stream_batches
from core.stage import StageContext
from eval.report.gather.files import SCAN_ROWS, clip, finite, json_object, spread

BINS_PER_DECADE = 20
MAX_DECADES = 9
SAMPLES = 4

_NOT_STATED = "not stated"


@dataclass
class Source:
    """One source's part of the corpus.

    Args:
        name: as the recipe has it.
        documents, chars: how much.
        share: of all characters.
        licences: documents by licence, as the Hub names it; as stated where that has no name.
        first, last: dates of the oldest and the newest document, ISO; None where none has one.
    """

    name: str
    documents: int = 0
    chars: int = 0
    share: float = 0.0
    licences: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None

    @property
    def stated(self) -> list[tuple[str, int]]:
        """Licences, the most frequent first."""
        return sorted(self.licences.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Histogram:
    """Counts over logarithmic bins; ``edges`` has one more entry than ``counts``."""

    edges: list[float]
    counts: list[int]
    scored: int
    unscored: int
    threshold: float | None
    above: int


@dataclass
class CorpusData:
    """What the corpus section is made of."""

    stage: str | None = None
    sources: list[Source] = field(default_factory=list)
    years: dict[int, int] = field(default_factory=dict)
    tokens: int | None = None
    histogram: Histogram | None = None
    source_lines: list[dict[str, Any]] = field(default_factory=list)
    near_kept: list[dict[str, Any]] = field(default_factory=list)
    near_cut: list[dict[str, Any]] = field(default_factory=list)
    cut: list[dict[str, Any]] = field(default_factory=list)
    duplicates: dict[str, int] = field(default_factory=dict)
    benchmarks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def documents(self) -> int:
        """Documents of all sources."""
        return sum(source.documents for source in self.sources)

    @property
    def chars(self) -> int:
        """Characters of all sources."""
        return sum(source.chars for source in self.sources)

    @property
    def shown(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.sources or self.histogram or self.duplicates or self.benchmarks)


def gather_corpus(
    ctx: StageContext, done: dict[str, Manifest], stages: Sequence[str]
) -> CorpusData:
    """Returns the corpus's facts from the finished stages.

    Args:
        ctx: the run.
        done: manifests of the finished stages.
        stages: those whose rows are documents, the last one first.
    """
    data = CorpusData(stage=next((name for name in stages if name in done), None))
    if data.stage:
        data.sources, data.years = composition(ctx.folder(data.stage))
    if "corpus.tokens" in done:
        tokens = finite(done["corpus.tokens"].metrics.get("tokens"))
        data.tokens = None if tokens is None else int(tokens)
    if "corpus.perplexity_score" in done:
        _perplexity(ctx, data)
    if "corpus.filter" in done:
        data.cut = cut_samples(ctx.folder("corpus.filter"))
    for name in ("corpus.dedup_clusters", "corpus.dedup"):
        if name in done:
            data.duplicates |= {
                key: int(value)
                for key, value in done[name].metrics.items()
                if finite(value) is not None
            }
    if "corpus.contamination_report" in done:
        report = json_object(ctx.folder("corpus.contamination_report") / "report.json")
        found = report.get("benchmarks", {})
        data.benchmarks = [{"name": name, **entry} for name, entry in sorted(found.items())]
    return data


def composition(folder: Path) -> tuple[list[Source], dict[int, int]]:
    """Returns the sources, largest first, and documents by year; streams the dataset."""
    sources: dict[str, Source] = {}
    years: dict[int, int] = {}
    columns = ["source", "text", "license", "created"]
    for batch in stream_batches(folder, columns, batch_rows=256):
        chars = pc.utf8_length(batch.column("text"))
        created = batch.column("created")
        year = pc.year(created)
        table = pa.table(
            {
                "source": batch.column("source"),
                "license": batch.column("license"),
                "chars": chars,
                "created": created,
            }
        )
        grouped = table.group_by(["source", "license"]).aggregate(
            [("chars", "sum"), ([], "count_all"), ("created", "min"), ("created", "max")]
        )
        for row in grouped.to_pylist():
            _add(sources.setdefault(row["source"], Source(row["source"])), row)
        for entry in pc.value_counts(year.drop_null()).to_pylist():
            years[entry["values"]] = years.get(entry["values"], 0) + entry["counts"]
    total = sum(source.chars for source in sources.values()) or 1
    for source in sources.values():
        source.share = source.chars / total
    ordered = sorted(sources.values(), key=lambda source: (-source.chars, source.name))
    return ordered, dict(sorted(years.items()))


def _add(source: Source, row: dict[str, Any]) -> None:
    source.documents += row["count_all"]
    source.chars += row["chars_sum"] or 0
    stated = (row["license"] or "").strip()
    named = hub_licence(stated)
    licence = stated if named == OTHER else named or _NOT_STATED
    source.licences[licence] = source.licences.get(licence, 0) + row["count_all"]
    if row["created_min"] is not None:
        first, last = row["created_min"].isoformat(), row["created_max"].isoformat()
        source.first = min(source.first or first, first)
        source.last = max(source.last or last, last)


def _perplexity(ctx: StageContext, data: CorpusData) -> None:
    found = json_object(ctx.folder("corpus.threshold") / "threshold.json")
    threshold = finite(found.get("threshold"))
    data.histogram = perplexity_histogram(ctx.folder("corpus.perplexity_score"), threshold)
    if found.get("per_source"):
        data.source_lines = [
            {"name": name, **entry} for name, entry in sorted(found.get("sources", {}).items())
        ]
    samples = json_object(ctx.folder("corpus.threshold") / "preview.json").get("samples", {})
    data.near_kept = _paragraphs(samples.get("below"), highest_first=True)
    data.near_cut = _paragraphs(samples.get("above"), highest_first=False)


def _paragraphs(found: Any, *, highest_first: bool) -> list[dict[str, Any]]:
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    rows.sort(key=lambda row: finite(row.get("perplexity")) or 0.0, reverse=highest_first)
    return [
        {
            "text": clip(str(row.get("text") or "")),
            "doc_id": row.get("doc_id") or "",
            "perplexity": finite(row.get("perplexity")),
        }
        for row in rows[:SAMPLES]
    ]


def perplexity_histogram(folder: Path, threshold: float | None) -> Histogram | None:
    """Returns the distribution of paragraph perplexities, or None where none was scored.

    Args:
        folder: dataset of paragraph scores.
        threshold: perplexity above which a paragraph is cut, if known.
    """
    bins = BINS_PER_DECADE * MAX_DECADES
    counts = np.zeros(bins, dtype=np.int64)
    unscored = above = 0
    for batch in stream_batches(folder, ["perplexity"], batch_rows=65536):
        values = batch.column("perplexity").drop_null().to_numpy(zero_copy_only=False)
        values = values[np.isfinite(values)]
        unscored += batch.num_rows - len(values)
        place = np.floor(np.log10(np.maximum(values, 1.0)) * BINS_PER_DECADE).astype(np.int64)
        counts += np.bincount(np.clip(place, 0, bins - 1), minlength=bins)
        above += int((values > threshold).sum()) if threshold is not None else 0
    filled = np.flatnonzero(counts)
    if not len(filled):
        return None
    first, last = int(filled[0]), int(filled[-1])
    return Histogram(
        edges=[10 ** (i / BINS_PER_DECADE) for i in range(first, last + 2)],
        counts=[int(c) for c in counts[first : last + 1]],
        scored=int(counts.sum()),
        unscored=unscored,
        threshold=threshold,
        above=above,
    )


def cut_samples(folder: Path, count: int = SAMPLES) -> list[dict[str, Any]]:
    """Returns a few paragraphs that the perplexity filter cut: doc_id, detail, text."""
    found: list[dict[str, Any]] = []
    if not shard_paths(folder / "rejects"):
        return found
    for batch in stream_batches(folder / "rejects", ["doc_id", "reason", "detail", "text"]):
        for row in batch.to_pylist():
            if row["reason"] == Reason.HIGH_PERPLEXITY and row["text"]:
                text = clip(row["text"])
                found.append({"doc_id": row["doc_id"], "detail": row["detail"] or "", "text": text})
        if len(found) >= SCAN_ROWS:
            break
    return spread(found, count)
