"""All cleaning steps against their peers in one run, on the same documents and one core.

Runs ``bench.clean_text`` (normalize, repetition), ``bench.dedup``, ``bench.tokens`` and
``bench.perplexity`` one after the other, then measures peak memory of normalize and repetition as
the corpus grows tenfold. Run
``python -m bench.clean FOLDER [FILE.mmd ...]`` with a folder of document shards, such as
``runs/x/corpus/ocr``; ``pip install -e '.[bench]'`` brings the peers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.memory import peak_mib
from core.recipe.repetition import Repetition
from core.shards import read_shard, shard_paths
from corpus.normalize import normalize_documents
from corpus.repetition.stage import cut_loops


def clean_times(folder: Path, times: int) -> None:
    """Normalizes and cuts loops in every shard of a folder, so many times over."""
    for _ in range(times):
        for path in shard_paths(folder):
            kept, _, _ = normalize_documents(read_shard(path), 0)
            cut_loops(kept, Repetition())


def main() -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of document shards")
    parser.add_argument("loops", type=Path, nargs="*", help="text files with loops in them")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder, rounds = str(arguments.folder), str(arguments.rounds)
    one_core = {
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, options in (
        ("clean_text", [folder, *map(str, arguments.loops), "--rounds", rounds]),
        ("dedup", ["--documents", folder]),
        ("tokens", ["--documents", folder, "--repeats", rounds]),
        ("perplexity", ["--documents", folder, "--repeats", "1", "--paragraphs", "300"]),
    ):
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"bench.{name}", *options]
        subprocess.run(command, check=True, env={**os.environ, **one_core})
    table = Table("corpus", "normalize + repetition, peak memory, MiB")
    for times in (1, 10):
        table.add_row(f"{times}x", f"{peak_mib(clean_times, arguments.folder, times):.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
