"""Deduplication and decontamination: what is found, how fast, in how much memory.

* Share of planted near duplicates found, and of pairs found that are planted, by the share of words
  replaced: with the defaults, and as web corpora are deduplicated (runs of five words, 0.8).
* CPU seconds for the same Parquet shards on one core, read to written: our three stages, datasketch
  (``MinHash.bulk`` and ``MinHashLSH``; it reads and writes nothing here), datatrove's four MinHash
  steps. datatrove splits words at spaces, which is faster than spaCy, its
  default, and hashes with SHA-1, as datasketch does (its xxhash fails with xxhash 4).
* Peak memory of our stages at one and ten times the documents, with paragraphs.
* Megabytes per second in which text is searched for benchmark questions.

Every measurement runs in a process of its own, with one thread. Run with
``python -m bench.dedup [--documents FOLDER]``, a folder of shards with ``doc_id`` and ``text``.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.memory import measured
from core.contamination_files import load_index
from core.minhash.bands import band_hashes, near_duplicates, plan_bands
from core.minhash.shingles import shingle_hashes, signature
from core.overlap import Rules
from core.recipe.dedup import Dedup, DedupParagraphs
from core.shards import shard_name, shard_paths, stream_batches, write_shard
from core.stage import ShardStage, StageContext, Unit
from corpus.dedup import DedupClustersStage, DedupSignaturesStage, DedupStage
from corpus.documents import Document, documents_table

_RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_SLOTS = 128
_SHARD_DOCUMENTS = 250
_SAMPLES = Path(__file__).parent.parent / "samples"
_SYLLABLES = (
    "ga",
    "la",
    "xy",
    "ste",
    "lar",
    "neb",
    "spec",
    "tro",
    "met",
    "ric",
    "dust",
    "or",
    "bit",
)


@cache
def _vocabulary(size: int) -> list[str]:
    generator = random.Random(0)
    return ["".join(generator.choices(_SYLLABLES, k=generator.randint(1, 4))) for _ in range(size)]


def make_texts(count: int, words: int, seed: int) -> Iterator[str]:
    """Yields texts whose words are as frequent as those of a language (Zipf), in paragraphs."""
    vocabulary = np.array(_vocabulary(30_000))
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    edges = np.cumsum(weights / weights.sum())
    generator = np.random.default_rng(seed)
    for _ in range(count):
        chosen = vocabulary[np.searchsorted(edges, generator.random(words))].tolist()
        yield "\n\n".join(" ".join(chosen[at : at + 100]) for at in range(0, words, 100))


def edited(text: str, rate: float, seed: int) -> str:
    """Returns the text with a share of its words replaced, dropped or doubled."""
    generator, vocabulary = random.Random(seed), _vocabulary(30_000)
    words = []
    for word in text.split():
        if generator.random() >= rate:
            words.append(word)
        else:
            words += generator.choice([[generator.choice(vocabulary)], [], [word, word]])
    return " ".join(words)


def make_shards(folder: Path, count: int, words: int) -> None:
    """Writes documents of which a tenth are near duplicates of others (2% of words changed)."""
    texts = make_texts(count, words, seed=1)
    before: list[str] = []
    for begin in range(0, count, _SHARD_DOCUMENTS):
        documents = []
        for number in range(begin, min(begin + _SHARD_DOCUMENTS, count)):
            text = next(texts)
            if number % 10 == 9:
                text = edited(before[-1], 0.02, number)
            before = [*before[-20:], text]
            documents.append(Document(f"made:{number:07d}", "made", text=text))
        write_shard(folder / shard_name(begin // _SHARD_DOCUMENTS), documents_table(documents))


def found_and_right(rate: float, dedup: Dedup, originals: list[str]) -> tuple[float, float]:
    """Returns (recall, precision) of removing one edited copy of each text."""
    assert dedup.similarity is not None
    copies = [edited(text, rate, number) for number, text in enumerate(originals)]
    signatures = np.stack(
        [
            signature(shingle_hashes(text, dedup.shingle_words), dedup.slots)
            for text in [*originals, *copies]
        ]
    )
    bands = band_hashes(signatures, *plan_bands(dedup.slots, dedup.similarity))
    every = np.arange(len(signatures))
    result = near_duplicates(signatures, bands, every, dedup.similarity)
    removed = result.survivor != every
    right = removed & (result.survivor == every - len(originals))
    return right.sum() / len(originals), right.sum() / max(1, removed.sum())


def quality(texts: int, words: int) -> Table:
    """Returns the table of recall and precision by edit rate."""
    settings = {
        "default (3 words, 0.5)": Dedup(),
        "3 words, 0.7": Dedup(similarity=0.7),
        "5 words, 0.8": Dedup(similarity=0.8, shingle_words=5),
    }
    originals = list(make_texts(texts, words, seed=0))
    table = Table("words changed", *(f"{name}: recall, precision" for name in settings))
    for rate in _RATES:
        cells = []
        for dedup in settings.values():
            recall, precision = found_and_right(rate, dedup, originals)
            cells.append(f"{recall:.3f}, {precision:.3f}" if recall else "0.000, -")
        table.add_row(f"{rate:.0%}", *cells)
    return table


def run_ours(folder: Path, paragraphs: bool) -> int:
    """Runs our stages over ``corpus/normalize`` in a run folder; returns the documents removed."""
    dedup = Dedup(paragraphs=DedupParagraphs() if paragraphs else None)
    ctx = StageContext(folder, folder, seed=1)
    names = [path.name for path in shard_paths(ctx.folder("corpus.normalize"))]
    units = [Unit(number, {"shard": name}, "") for number, name in enumerate(names)]

    def run(stage: ShardStage) -> int:
        rejected = 0
        for unit in units:
            result = stage.process(unit, ctx)
            write_shard(ctx.folder(stage.name) / unit.payload["shard"], result.kept)
            rejected += result.rows_rejected or 0
        return rejected

    run(DedupSignaturesStage(dedup, "corpus.normalize"))
    clusters = DedupClustersStage(dedup, "corpus.dedup_signatures", [])
    clusters.run(ctx, ctx.folder(clusters.name))
    return run(DedupStage(dedup, "corpus.normalize", clusters.name))


def run_datasketch(folder: Path) -> int:
    """Does the same with datasketch; returns the documents removed."""
    from datasketch import MinHash, MinHashLSH

    def runs() -> Iterator[list[bytes]]:
        for batch in stream_batches(folder / "corpus" / "normalize", ["text"]):
            for text in batch.column(0).to_pylist():
                words = text.lower().split()
                yield [" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)]

    index = MinHashLSH(threshold=0.5, num_perm=_SLOTS)
    removed = 0
    made = MinHash.generator(runs(), num_perm=_SLOTS, scheme="affine32")
    for number, minhash in enumerate(made):
        # The generator gives the same object with new values.
        minhash = minhash.copy()
        if any(index_minhash.jaccard(minhash) >= 0.5 for index_minhash in index.query(minhash)):
            removed += 1
        else:
            index.insert(_Keyed(minhash, number), minhash)
    return removed


class _Keyed:
    """A key of the index that carries its signature, to verify with."""

    def __init__(self, minhash: Any, number: int) -> None:
        self.jaccard, self._number = minhash.jaccard, number

    def __hash__(self) -> int:
        return self._number


def run_datatrove(folder: Path) -> int:
    """Does the same with datatrove's MinHash steps; returns the documents removed."""
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.logging import logger
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Spaces(WordTokenizer):
        word_tokenize = staticmethod(str.split)
        sent_tokenize = span_tokenize = word_tokenize

    logger.remove()
    config = MinhashConfig(
        n_grams=3,
        num_buckets=42,
        hashes_per_bucket=3,
        hash_config=HashConfig(precision=64, hash_fc="sha1"),
    )

    def reader() -> Any:
        return ParquetReader(str(folder / "corpus" / "normalize"), id_key="doc_id")

    work = str(folder / "datatrove")
    for step in (
        MinhashDedupSignature(f"{work}/signatures", config, language=Spaces()).run(reader().run())
        or ()
    ):
        del step
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config).run(
            rank=bucket, world_size=config.num_buckets
        )
    MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config).run()
    removing = MinhashDedupFilter(f"{work}/remove")
    with ParquetWriter(f"{work}/out") as writer:
        kept = 0
        for document in removing.run(reader().run()):
            writer.write(document)
            kept += 1
    total = sum(
        pq.ParquetFile(p).metadata.num_rows for p in shard_paths(folder / "corpus" / "normalize")
    )
    return total - kept


def search(texts: list[str]) -> int:
    """Looks for the sample's questions in texts; returns the overlaps."""
    files = {path.stem: str(path) for path in (_SAMPLES / "mcq").glob("*.jsonl")}
    index = load_index(Path(), files, Rules())
    return sum(len(index.find(text)) for text in texts)


def _sample_texts(megabytes: float) -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(_SAMPLES.glob("astronomy/*.md"))]
    return texts * round(1 + megabytes * 1e6 / sum(map(len, texts)))


def _use_documents(source: Path, folder: Path) -> None:
    for path in shard_paths(source):
        rows = pq.read_table(path, columns=["doc_id", "text"]).to_pylist()
        documents = [Document(row["doc_id"], "given", text=row["text"]) for row in rows]
        write_shard(folder / path.name, documents_table(documents))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=Path, help="documents of your own to measure speed on")
    parser.add_argument("--count", type=int, default=1_000, help="made documents at 1x")
    parser.add_argument("--words", type=int, default=2_000, help="words in each")
    parser.add_argument("--planted", type=int, default=500, help="texts to plant copies of")
    arguments = parser.parse_args()
    # Before the measuring processes load the libraries that read them.
    for name in ("RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    console = Console(width=130)
    console.print(quality(arguments.planted, 400))
    speed = Table(
        "on one core", "CPU seconds", "documents/s", "MB/s", "removed", "peak MiB", "ratio"
    )
    memory = Table("documents", "peak MiB", "CPU seconds")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = folder / "corpus" / "normalize"
        if arguments.documents:
            _use_documents(arguments.documents, shards)
        else:
            make_shards(shards, arguments.count, arguments.words)
        texts = [t for b in stream_batches(shards, ["text"]) for t in b.column(0).to_pylist()]
        documents, megabytes = len(texts), sum(map(len, texts)) / 1e6
        # Made words meet by chance as those of a language do not.
        prose = texts if arguments.documents else _sample_texts(megabytes)
        calls: dict[str, tuple[Any, ...]] = {
            "ours": (run_ours, folder, False),
            "ours, with paragraphs": (run_ours, folder, True),
            "datasketch": (run_datasketch, folder),
            "datatrove": (run_datatrove, folder),
            "search for questions": (search, prose),
        }
        first = 0.0
        for name, call in calls.items():
            done = measured(*call)
            seconds = done.cpu_seconds
            first = first or seconds
            cells = (f"{seconds:.2f}", f"{documents / seconds:,.0f}", f"{megabytes / seconds:.1f}")
            if call[0] is search:
                cells = (f"{seconds:.2f}", "", f"{sum(map(len, prose)) / 1e6 / seconds:.1f}")
            cells += (str(done.value), f"{done.peak_mib:.0f}", f"{seconds / first:.1f}")
            speed.add_row(name, *cells)
        console.print(f"{documents:,} documents, {megabytes:.1f} MB")
        console.print(speed)
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_shards(folder / "corpus" / "normalize", arguments.count * times, arguments.words)
            done = measured(run_ours, folder, True)
            peak, seconds = f"{done.peak_mib:.0f}", f"{done.cpu_seconds:.1f}"
            memory.add_row(f"{arguments.count * times:,}", peak, seconds)
    console.print(memory)


if __name__ == "__main__":
    main()
