"""Scores the points of a merge sweep as ``eval.mcq`` scores the recipe's models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import RecipeError
from core.recipe.eval import Eval
from core.recipe.mcq import Mcq
from core.recipe.model import Recipe
from core.rejects import Reason
from core.sources import SourceIndex
from core.stage import Resources, StageContext
from eval.items import benchmark_file, load_items
from eval.mcq.stage import McqStage
from merge.sweep import SweepScore

_MERGED = "merge.merged"


class McqScorer:
    """Asks a model the recipe's benchmarks, in the way that the merged model is asked."""

    def __init__(self, section: Mcq, name: str) -> None:
        """Takes the recipe's parts.

        Args:
            section: benchmarks and how to ask.
            name: the merged model's in the tables: decides how points are asked.

        Raises:
            RecipeError: the merged model is one that a server answers for.
        """
        if section.engine_of(name).kind == "openai":
            raise RecipeError(
                f"a sweep scores models that nobody serves yet, and '{name}' is asked at a server",
                where="key merge.sweep",
                remedy=f"name an engine that loads it under eval.mcq.engines.{name}",
            )
        self._section = section
        self._name = name

    @property
    def resources(self) -> Resources:
        """What answering takes from the cluster."""
        return self._stage(_MERGED).resources

    def _stage(self, reference: str) -> McqStage:
        return McqStage(self._section, {self._name: reference})

    def config(self) -> dict[str, Any]:
        """Returns what scores depend on."""
        stage = self._stage(_MERGED)
        groups = {b.name: b.group for b in self._section.benchmarks}
        return {"mcq": stage.config(), "code_version": stage.code_version, "groups": groups}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files, with those of solved questions."""
        return self._stage(_MERGED).source_files(ctx)

    def score(self, model: Path, scratch: Path, ctx: StageContext) -> list[SweepScore]:
        """Scores a model folder, benchmark by benchmark; nothing but the sums is kept."""
        stage = self._stage(str(model))
        # Points are scored side by side: the run's own logs and index of hashes have one writer.
        own = replace(ctx, run_dir=scratch, remote=None)
        sums: dict[tuple[str, str], Counter[str]] = {}
        try:
            stage.setup(own)
            for unit in stage.plan(own, SourceIndex(ctx.root, scratch / "sources.json")):
                done = stage.process(unit, own)
                counts = sums.setdefault(
                    (unit.payload["benchmark"], unit.payload["mode"]), Counter()
                )
                _add(counts, done.kept.select(["permutation", "correct"]).to_pylist())
                missing = [r.doc_id for r in done.rejected if r.reason is Reason.NOT_SCORED]
                if missing:
                    lost = len(self._keyed(unit.payload["benchmark"], ctx).intersection(missing))
                    counts.update(total=lost, unscored=lost)
        finally:
            # The scratch folder goes: no engine may hold its files, or a process of its own.
            stage.close()
        return self._scores(sums)

    def _keyed(self, name: str, ctx: StageContext) -> set[str]:
        """Returns the ids of a benchmark's questions that have a key."""
        (benchmark,) = (b for b in self._section.benchmarks if b.name == name)
        items, _ = load_items(benchmark_file(benchmark, ctx))
        return {item.item_id for item in items if item.answer is not None}

    def _scores(self, sums: dict[tuple[str, str], Counter[str]]) -> list[SweepScore]:
        groups = {b.name: b.group for b in self._section.benchmarks}
        several = len({mode for _, mode in sums}) > 1
        return [
            SweepScore(
                benchmark=f"{name} ({mode})" if several else name,
                group=groups[name],
                correct=counts["correct"],
                total=counts["total"],
                unscored=counts["unscored"],
            )
            for (name, mode), counts in sorted(sums.items())
        ]


def _add(counts: Counter[str], rows: Iterable[dict[str, Any]]) -> None:
    """Adds up predictions that have a key, in the file's own order of the choices."""
    for row in rows:
        if row["correct"] is not None and not row["permutation"]:
            counts.update(total=1, correct=int(row["correct"]))


def sweep_scorer(recipe: Recipe) -> McqScorer:
    """Returns the scorer of a recipe's sweep.

    Raises:
        RecipeError: the recipe has no benchmarks.
    """
    section: Eval | None = recipe.eval
    if section is None:
        raise RecipeError(
            "a sweep scores its merges, and the recipe has no benchmarks",
            where="key merge.sweep",
            remedy="add 'eval:' with 'mcq:' to the recipe; recipes/demo.yaml has both",
        )
    named = [name for name, reference in section.models.items() if reference == _MERGED]
    return McqScorer(section.mcq, named[0] if named else "merged")
