"""Solved questions shown before the one asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from core.recipe.mcq import Benchmark, Shots
from core.stage import StageContext
from eval.items import Item, benchmark_file, load_items


def shots_file(benchmark: Benchmark, ctx: StageContext) -> Path | None:
    """Returns the file that a benchmark's solved questions come from; None: it has none.

    Raises:
        InputError: as for :func:`eval.items.benchmark_file`.
    """
    if benchmark.shots is None:
        return None
    path = benchmark.shots.path or benchmark.path
    return benchmark_file(benchmark.model_copy(update={"path": path}), ctx)


def load_shots(benchmark: Benchmark, ctx: StageContext) -> list[Item]:
    """Reads the questions that can be shown as solved: those with a key, in file order.

    Raises:
        InputError: there are fewer of them than the recipe asks for.
    """
    file = shots_file(benchmark, ctx)
    if file is None or benchmark.shots is None:
        return []
    keyed = [item for item in load_items(file)[0] if item.answer is not None]
    # Of the benchmark's own, one is never shown: the one that is asked.
    least = benchmark.shots.count + (benchmark.shots.path is None)
    if len(keyed) < least:
        raise InputError(
            f"{len(keyed)} questions have an answer; {least} are needed to show "
            f"{benchmark.shots.count}",
            where=f"{file} (eval.mcq.benchmarks: {benchmark.name}, shots)",
            remedy="lower shots.count, or name a file of solved questions as shots.path",
        )
    return keyed


def pick_shots(item: Item, pool: Sequence[Item], shots: Shots | None) -> list[Item]:
    """Returns the solved questions to show before one.

    Args:
        item: the question asked.
        pool: from :func:`load_shots`.
        shots: the recipe's; None: none are shown.

    Returns:
        The pool's first ones; those of the question's own topic alone, where there are any. Never
        the question itself.
    """
    if shots is None:
        return []
    if item.topic is not None:
        pool = [shot for shot in pool if shot.topic == item.topic] or pool
    asked = (item.question, item.choices)
    found: list[Item] = []
    for shot in pool:
        if len(found) == shots.count:
            break
        if (shot.question, shot.choices) != asked:
            found.append(shot)
    return found


__all__ = ["load_shots", "pick_shots", "shots_file"]
