"""Which file a benchmark of the recipe is."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError
from core.recipe.eval import Benchmark
from core.sources import find_files
from core.stage import StageContext

ENDINGS = (".jsonl", ".json", ".csv")


def benchmark_file(benchmark: Benchmark, ctx: StageContext) -> Path:
    """Returns the one file of a benchmark.

    Raises:
        InputError: there is none, several, or one of an unknown kind.
    """
    where = f"eval.mcq.benchmarks: {benchmark.name}"
    files = find_files(ctx.root, [benchmark.path], ENDINGS, where)
    if len(files) != 1 or files[0].suffix.lower() not in ENDINGS:
        raise InputError(
            f"'{benchmark.path}' is not one file of questions",
            where=where,
            remedy=f"name one file that ends in {', '.join(ENDINGS)}",
        )
    return files[0]
