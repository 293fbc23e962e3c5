"""Dedup, step 2 (reduce): which documents and paragraphs are duplicates, and which one stays.

Documents are put in rank: by the recipe's priority of sources, then the sources' order there, then
``doc_id``. Equal texts go first, near duplicates among the rest, paragraphs among what stays.

::

    clusters.parquet            a row per document that has a duplicate: for people to look at
    removed/part-00000.parquet  rows of that documents shard to remove, and for which survivor
    repeats/part-00000.parquet  paragraphs of that shard to cut, and whose document keeps them

Memory: about 200 bytes per document. Signatures and band hashes lie in files of fixed-size rows,
mapped into memory, so the system may drop their pages; paragraph hashes lie in bucket files.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.minhash.bands import NearDuplicates, Ranks
from core.minhash.search import find_near
from core.recipe.dedup import Dedup
from core.shards import read_shard, shard_paths, write_shard
from core.stage import JobResult, JobStage, StageContext
from corpus.dedup.repeats import ENTRY, ParagraphBuckets

CLUSTERS_NAME = "clusters.parquet"
REMOVED, REPEATS = "removed", "repeats"

CLUSTER = pa.schema(
    [
        ("cluster", pa.int64()),
        ("doc_id", pa.string()),
        ("source", pa.string()),
        ("chars", pa.int64()),
        ("relation", pa.string()),
        ("survivor", pa.string()),
        ("similarity", pa.float64()),
    ]
)
"""``relation`` to the survivor: ``kept`` (is one), ``exact`` or ``near``."""

REMOVED_ROW = pa.schema(
    [
        ("row", pa.int32()),
        ("relation", pa.string()),
        ("survivor", pa.string()),
        ("similarity", pa.float64()),
    ]
)
REPEAT_ROW = pa.schema([("row", pa.int32()), ("paragraph", pa.int32()), ("survivor", pa.string())])

_FACTS = {"doc_id": pl.String, "source": pl.String, "chars": pl.Int64, "text_hash": pl.Binary}
_CUT = np.dtype([("row", "<u4"), ("place", "<u4"), ("keeper", "<u4")])
_BATCH_ROWS = 8_192


@dataclass(frozen=True)
class Corpus:
    """What is known of all documents, each array in rank order.

    Args:
        shards: files of signatures, as the documents' shards are named.
        offsets: number of documents before each shard, and of all.
        rank: of each document, in the order of the shards.
        place: of each document in that order, by rank.
        facts: doc_id, source, chars, text_hash.
        paragraphs: how many paragraph hashes there are.
    """

    shards: list[Path]
    offsets: Ranks
    rank: Ranks
    place: Ranks
    facts: pl.DataFrame
    paragraphs: int


def read_corpus(shards: list[Path], sources: Sequence[str]) -> Corpus:
    """Reads the documents' facts and ranks them.

    Args:
        shards: signature shards in order.
        sources: names of sources, best first; others come after, by name.
    """
    frames: list[pl.DataFrame] = []
    paragraphs = 0
    for path in shards:
        table = read_shard(path, ["doc_id", "source", "chars", "text_hash", "paragraph_hashes"])
        paragraphs += len(table.column("paragraph_hashes").combine_chunks().flatten())
        frame = pl.from_arrow(table.drop_columns("paragraph_hashes"))
        assert isinstance(frame, pl.DataFrame)
        frames.append(frame)
    facts = pl.concat(frames) if frames else pl.DataFrame(schema=_FACTS)
    order = {name: number for number, name in enumerate(sources)}
    number = pl.col("source").replace_strict(order, default=len(order), return_dtype=pl.Int32)
    place = (
        facts.select(number.alias("number"), "source", "doc_id")
        .with_row_index("at")
        .sort("number", "source", "doc_id", "at")
        .get_column("at")
        .to_numpy()
        .astype(np.int64)
    )
    rank = np.empty(len(place), dtype=np.int64)
    rank[place] = np.arange(len(place))
    offsets = np.concatenate([[0], np.cumsum([len(frame) for frame in frames])])
    return Corpus(shards, offsets, rank, place, facts[place], paragraphs)


def exact_survivors(facts: pl.DataFrame) -> Ranks:
    """Returns for each rank the best rank with an equal text."""
    ranked = facts.select("text_hash").with_row_index("rank")
    return (
        ranked.select(pl.col("rank").min().over("text_hash"))
        .get_column("rank")
        .to_numpy()
        .astype(np.int64)
    )


def _find_near(corpus: Corpus, unique: Ranks, dedup: Dedup, work: Path) -> NearDuplicates:
    """Finds near duplicates among the documents ``unique`` (ranks, ascending)."""
    assert dedup.similarity is not None
    batches = (
        (corpus.rank[begin : begin + len(column)], column)
        for begin, column in _batches(corpus, "signature")
    )
    count = len(corpus.rank)
    return find_near(batches, unique, count, dedup.slots, dedup.similarity, work)


def _batches(corpus: Corpus, column: str) -> Iterator[tuple[int, Any]]:
    """Yields (number of its first document, the column) of all shards, in batches."""
    for path, begin in zip(corpus.shards, corpus.offsets[:-1].tolist(), strict=True):
        for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS, columns=[column]):
            yield begin, batch.column(0)
            begin += batch.num_rows


@dataclass(frozen=True)
class Outcome:
    """What happens to each document; arrays by rank.

    Args:
        survivor: which document stays instead; itself where it stays.
        exact: whether its text equals the survivor's.
        similarity: to the survivor.
        cluster: the best rank of its cluster.
    """

    survivor: Ranks
    exact: npt.NDArray[np.bool_]
    similarity: npt.NDArray[np.float64]
    cluster: Ranks


def decide(equal: Ranks, near: NearDuplicates | None) -> Outcome:
    """Joins equal and near duplicates: a text equal to a removed one is as near to its survivor."""
    if near is None:
        return Outcome(equal, np.ones(len(equal), np.bool_), np.ones(len(equal)), equal)
    survivor = near.survivor[equal]
    return Outcome(survivor, survivor == equal, near.similarity[equal], near.cluster[equal])


def cluster_table(corpus: Corpus, outcome: Outcome) -> pa.Table:
    """Returns the rows of :data:`CLUSTER`: clusters by their best document, its members by rank."""
    sizes = np.bincount(outcome.cluster, minlength=len(outcome.cluster))
    ranks = np.flatnonzero(sizes[outcome.cluster] > 1)
    ranks = ranks[np.argsort(outcome.cluster[ranks], kind="stable")]
    number = np.cumsum(np.diff(outcome.cluster[ranks], prepend=-1) != 0) - 1
    frame = corpus.facts[ranks].select("doc_id", "source", "chars")
    return pa.table(
        {
            "cluster": number,
            "doc_id": frame["doc_id"].to_arrow(),
            "source": frame["source"].to_arrow(),
            "chars": frame["chars"].to_arrow(),
            "relation": pa.array(_relations(outcome, ranks)),
            "survivor": corpus.facts["doc_id"].gather(outcome.survivor[ranks]).to_arrow(),
            "similarity": outcome.similarity[ranks],
        }
    ).cast(CLUSTER)


def _relations(outcome: Outcome, ranks: Ranks) -> list[str]:
    kept = outcome.survivor[ranks] == ranks
    names = np.where(kept, "kept", np.where(outcome.exact[ranks], "exact", "near"))
    return [str(name) for name in names]


def removed_table(corpus: Corpus, outcome: Outcome, shard: int) -> pa.Table:
    """Returns the rows of :data:`REMOVED_ROW` of one shard of documents."""
    begin, end = corpus.offsets[shard : shard + 2]
    ranks = corpus.rank[begin:end]
    rows = np.flatnonzero(outcome.survivor[ranks] != ranks)
    ranks = ranks[rows]
    return pa.table(
        {
            "row": rows,
            "relation": pa.array(_relations(outcome, ranks), pa.string()),
            "survivor": corpus.facts["doc_id"].gather(outcome.survivor[ranks]).to_arrow(),
            "similarity": outcome.similarity[ranks],
        }
    ).cast(REMOVED_ROW)


def find_repeats(corpus: Corpus, stays: npt.NDArray[np.bool_], work: Path) -> tuple[Path, int]:
    """Finds the paragraphs to cut from the documents that stay.

    Returns:
        A folder with a file of cuts per shard that has any, and how many there are.
    """
    buckets = ParagraphBuckets(work / "buckets", corpus.paragraphs)
    for begin, column in _batches(corpus, "paragraph_hashes"):
        counts = np.diff(column.offsets.to_numpy())
        ranks = np.repeat(corpus.rank[begin : begin + len(column)], counts)
        entries = np.empty(len(ranks), dtype=ENTRY)
        entries["hash"] = column.flatten().to_numpy()
        entries["rank"] = ranks
        entries["place"] = np.arange(len(ranks)) - np.repeat(np.cumsum(counts) - counts, counts)
        buckets.add(entries[stays[ranks]])
    folder = work / "cuts"
    folder.mkdir()
    total = 0
    for entries, keeper in buckets.repeats():
        total += len(entries)
        places = corpus.place[entries["rank"]]
        shards = np.searchsorted(corpus.offsets, places, side="right") - 1
        cuts = np.empty(len(entries), dtype=_CUT)
        cuts["row"] = places - corpus.offsets[shards]
        cuts["place"], cuts["keeper"] = entries["place"], keeper
        order = np.argsort(shards, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            if len(part):
                with (folder / f"{shards[part[0]]}.bin").open("ab") as file:
                    file.write(cuts[part].tobytes())
    return folder, total


def repeats_table(corpus: Corpus, cuts: Path) -> pa.Table:
    """Returns the rows of :data:`REPEAT_ROW` that a file of cuts holds."""
    found = np.fromfile(cuts, dtype=_CUT) if cuts.exists() else np.zeros(0, dtype=_CUT)
    found = found[np.lexsort((found["place"], found["row"]))]
    keepers = corpus.facts["doc_id"].gather(found["keeper"]).to_arrow()
    columns = {"row": found["row"], "paragraph": found["place"], "survivor": keepers}
    return pa.table(columns).cast(REPEAT_ROW)


class DedupClustersStage(JobStage):
    """Clusters of duplicates."""

    name = "corpus.dedup_clusters"
    description = "Clusters of equal and near-equal documents, and which one of each stays."
    reconcile = "Counts documents; nothing is removed here."

    def __init__(self, dedup: Dedup, signatures: str, sources: Sequence[str]) -> None:
        """Args: the section, the signatures' stage, and the sources' names in recipe order."""
        self.inputs = (signatures,)
        self._dedup = dedup
        self._sources = [*dedup.priority, *(s for s in sources if s not in dedup.priority)]

    def config(self) -> dict[str, Any]:
        """Returns the threshold and the sources in their priority."""
        values = self._dedup.model_dump(mode="json", exclude={"priority"})
        return {**values, "sources": self._sources}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Finds all duplicates and writes three kinds of tables."""
        shards = shard_paths(ctx.folder(self.inputs[0]))
        names = [path.name for path in shards]
        corpus = read_corpus(shards, self._sources)
        work = out / "work"
        equal = exact_survivors(corpus.facts)
        unique = np.flatnonzero(equal == np.arange(len(equal)))
        near = (
            _find_near(corpus, unique, self._dedup, work / "near") if self._similar(equal) else None
        )
        outcome = decide(equal, near)
        write_shard(out / CLUSTERS_NAME, cluster_table(corpus, outcome))
        stays = outcome.survivor == np.arange(len(equal))
        cuts, repeats = None, 0
        if self._dedup.paragraphs is not None:
            cuts, repeats = find_repeats(corpus, stays, work)
        for number, name in enumerate(names):
            write_shard(out / REMOVED / name, removed_table(corpus, outcome, number))
            if cuts is not None:
                write_shard(out / REPEATS / name, repeats_table(corpus, cuts / f"{number}.bin"))
        shutil.rmtree(work, ignore_errors=True)
        gone = int((~stays).sum())
        metrics = {
            "clusters": int((np.bincount(outcome.cluster) > 1).sum()) if len(equal) else 0,
            "exact_duplicates": int((~stays & outcome.exact).sum()),
            "near_duplicates": int((~stays & ~outcome.exact).sum()),
            "repeated_paragraphs": repeats,
            "pairs_compared": near.compared if near else 0,
            "left_uncompared": near.left if near else 0,
        }
        assert gone == metrics["exact_duplicates"] + metrics["near_duplicates"]
        return JobResult(rows_in=len(equal), rows_out=len(equal), metrics=metrics)

    def _similar(self, equal: Ranks) -> bool:
        return self._dedup.similarity is not None and len(equal) > 0
