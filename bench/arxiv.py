"""How fast the arXiv metadata snapshot is read and filtered, against ``json.loads`` alone.

Makes a snapshot of records like Kaggle's (about 1.9 kB each, one in ten kept), in every wrapping,
and times one worker's catalog units over it. Run ``python -m bench.arxiv [--records N]``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.memory import peak_mib
from core.recipe.corpus import Corpus
from core.sources import SourceIndex
from core.stage import StageContext
from corpus.catalog import CatalogStage

_CATEGORIES = ["astro-ph.GA", "hep-ph", "math.CO", "cs.LG", "quant-ph", "cond-mat.str-el"]
_CATEGORIES += ["cs.CV", "math.AG", "stat.ML", "nucl-th"]


def _record(number: int, rng: random.Random) -> dict[str, object]:
    words = [f"w{rng.randrange(5000)}" for _ in range(190)]
    return {
        "id": f"{701 + number // 100_000:04d}.{number % 100_000:05d}",
        "submitter": "A. Author",
        "authors": "A. Author, B. Author and C. Author",
        "title": "A title of some ten words\n  that runs over two lines",
        "comments": "12 pages, 5 figures, accepted",
        "journal-ref": "Astrophys.J. 123 (2009) 45" if number % 2 else None,
        "doi": f"10.1088/0004-637X/{number}",
        "categories": _CATEGORIES[number % 10],
        "license": "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "abstract": " ".join(words),
        "versions": [
            {"version": "v1", "created": f"Mon, {1 + number % 28} Apr 2012 10:00:00 GMT"},
            {"version": "v2", "created": "Tue, 3 Jul 2012 10:00:00 GMT"},
        ],
        "update_date": "2013-01-01",
        "authors_parsed": [["Author", "A.", ""], ["Author", "B.", ""], ["Author", "C.", ""]],
    }


def make_snapshot(folder: Path, records: int) -> dict[str, Path]:
    """Writes the snapshot in every wrapping, and an empty PDF for each paper that is kept."""
    rng = random.Random(0)
    names = {"lines": "m.jsonl", "gz": "m.json.gz", "array": "m.json", "array gz": "a.json.gz"}
    paths = {wrapping: folder / name for wrapping, name in names.items()}
    (folder / "pdf").mkdir(parents=True)
    with (
        paths["lines"].open("w") as lines,
        paths["array"].open("w") as array,
        gzip.open(paths["gz"], "wt", compresslevel=4) as zipped,
        gzip.open(paths["array gz"], "wt", compresslevel=4) as both,
    ):
        for number in range(records):
            record = _record(number, rng)
            line = json.dumps(record)
            for f in (lines, zipped):
                f.write(line + "\n")
            for f in (array, both):
                f.write(("[" if number == 0 else ",") + "\n  " + json.dumps(record, indent=2))
            if number % 10 == 0:
                (folder / "pdf" / f"{record['id']}v1.pdf").touch()
        array.write("]")
        both.write("]")
    return paths


def run_catalog(folder: Path, metadata: str) -> tuple[int, int]:
    """Makes the catalog in this process; returns (records read, papers kept)."""
    window = {"created_from": date(2007, 1, 1), "created_until": date(2024, 1, 31)}
    source = {"kind": "arxiv", "metadata": metadata, "pdfs": "pdf", **window}
    stage = CatalogStage(Corpus.model_validate({"sources": [source]}), None)
    ctx = StageContext(folder / "run", folder, seed=0)
    read = kept = 0
    for unit in stage.plan(ctx, SourceIndex(folder, folder / "run" / "sources.json")):
        result = stage.process(unit, ctx)
        read += result.rows_in
        kept += result.kept.num_rows
    return read, kept


def _only_json(path: Path) -> None:
    with path.open("rb") as f:
        for line in f:
            json.loads(line)


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    table = Table("wrapping", "records/s", "json.loads alone, records/s", "ratio")
    memory = Table("records", "peak memory, MiB")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = make_snapshot(folder / "small", arguments.records)
        for wrapping, path in paths.items():
            rounds = [
                (
                    _seconds(_only_json, paths["lines"]),
                    _seconds(run_catalog, path.parent, path.name),
                )
                for _ in range(arguments.repeats)
            ]
            alone, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
            rates = f"{arguments.records / ours:,.0f}", f"{arguments.records / alone:,.0f}"
            table.add_row(wrapping, *rates, f"{alone / ours:.2f}")
        for times in (1, 10):
            large = folder / f"times-{times}"
            make_snapshot(large, arguments.records * times)
            peak = peak_mib(run_catalog, large, "m.jsonl")
            memory.add_row(f"{arguments.records * times:,}", f"{peak:.0f}")
    console = Console()
    console.print(table)
    console.print(memory)


if __name__ == "__main__":
    main()
