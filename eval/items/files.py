"""Which file a benchmark of the recipe is."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError
from core.questions import ENDINGS
from core.recipe.eval import Benchmark
from core.sources import find_files
from core.stage import StageContext

__all__ = ["ENDINGS", "benchmark_file", "question_file"]


def benchmark_file(benchmark: Benchmark, ctx: StageContext) -> Path:
    """Returns the one file of a benchmark.

    Raises:
        InputError: there is none, several, or one of an unknown kind.
    """
    return question_file(benchmark.path, f"eval.mcq.benchmarks: {benchmark.name}", ctx)


def question_file(path: str, where: str, ctx: StageContext) -> Path:
    """Returns the one file that a path or pattern of the recipe names.

    Args:
        path: from the recipe's root.
        where: recipe key, for the error.
        ctx: where that root is.

    Raises:
        InputError: there is none, several, or one of an unknown kind.
    """
    files = find_files(ctx.root, [path], ENDINGS, where)
    if len(files) != 1 or files[0].suffix.lower() not in ENDINGS:
        raise InputError(
            f"'{path}' is not one file of questions",
            where=where,
            remedy=f"name one file that ends in {', '.join(ENDINGS)}",
        )
    return files[0]
