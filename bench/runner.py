"""What the runner costs on top of bare Ray tasks.

Both sides do the same work on the same shards - read Parquet, normalize text with ftfy, write
zstd Parquet - in one Ray session: the peer as plain Ray tasks, ours as a shard stage with receipts,
rejects, hashes and manifest. Run with ``make bench``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from rich.console import Console
from rich.table import Table

from core.graph import Pipeline
from core.progress import Reporter
from core.recipe.corpus import Normalize
from core.runner import run_pipeline
from core.schema import DOCUMENT
from core.session import ray_session
from core.shards import shard_name
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.normalize import NormalizeStage, normalize_documents

_TEXT = (
    "The spectrum of the quasar shows broad emission lines of hydrogen, carbon and magnesium. "
    "Their widths give the mass of the black hole, and their redshift its distance.\n\n"
)


class _Made(ShardStage):
    """Documents to normalize."""

    name = "corpus.made"
    description = "documents for the benchmark"
    schema = DOCUMENT

    def __init__(self, shards: int, documents: int) -> None:
        self._shards, self._documents = shards, documents

    def config(self) -> dict[str, object]:
        return {"shards": self._shards, "documents": self._documents}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        return [Unit(i, {}, str(i)) for i in range(self._shards)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        documents = [
            Document(f"made:{unit.index}-{n}", "made", text=_TEXT * 20)
            for n in range(self._documents)
        ]
        return ShardResult(documents_table(documents), rows_in=self._documents)


def _bare(source: Path, target: Path) -> None:
    table: pa.Table = pq.read_table(source)
    kept, _, _ = normalize_documents(table, 0)
    pq.write_table(kept, target, compression="zstd")


def measure(shards: int, documents: int, repeats: int, workers: int) -> list[tuple[float, float]]:
    """Returns (bare, ours) seconds per repeat, taken in turn."""
    rounds = []
    bare = ray.remote(_bare)
    quiet = Reporter(Console(quiet=True))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ctx = StageContext(folder / "run", folder, seed=0)
        made = _Made(shards, documents)
        pipeline = Pipeline([made], ctx)
        run_pipeline(pipeline, pipeline.select(), quiet, workers=workers)
        inputs = [ctx.folder(made.name) / shard_name(i) for i in range(shards)]
        for number in range(repeats + 1):
            out = folder / f"bare-{number}"
            out.mkdir()
            started = time.perf_counter()
            ray.get([bare.remote(path, out / path.name) for path in inputs])
            bare_seconds = time.perf_counter() - started
            # Another min_chars is another config: nothing can be skipped.
            stage = NormalizeStage(Normalize(min_chars=number), made.name)
            pipeline = Pipeline([made, stage], ctx)
            started = time.perf_counter()
            run_pipeline(pipeline, pipeline.select(), quiet, workers=workers)
            rounds.append((bare_seconds, time.perf_counter() - started))
    # The first round starts workers and imports.
    return rounds[1:]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=50, help="documents per shard")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    table = Table("shards", "bare Ray, s", "runner, s", "ratio", "extra per shard, ms")
    with ray_session(None, arguments.workers):
        for shards in (50, 200):
            rounds = measure(shards, arguments.documents, arguments.repeats, arguments.workers)
            bare = statistics.median(b for b, _ in rounds)
            ours = statistics.median(o for _, o in rounds)
            ratio = statistics.median(o / b for b, o in rounds)
            extra = statistics.median((o - b) / shards * 1000 for b, o in rounds)
            table.add_row(str(shards), f"{bare:.2f}", f"{ours:.2f}", f"{ratio:.2f}", f"{extra:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
