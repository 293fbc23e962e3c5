"""The same merge at many weights, each scored: how much of the second model is best.

The papers give the weights they chose (AstroMLab 3, section IV: 0.25 of the instruct model;
AstroMLab 4, section 2.4: 0.15), not what others gave. A point merges into a scratch folder, has it
scored, and deletes it. Points are units of a shard stage: they run side by side on Ray, and a
stopped sweep goes on with those that are left.

Weights 0 and 1 are the two models as they are: nothing is merged there, and nothing pruned.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from core.atomic import write_json
from core.hashing import sha256_value
from core.intervals import wilson
from core.manifest import Manifest
from core.recipe.chat import Chat
from core.recipe.merge import Merge
from core.schema import MERGE_SCORE
from core.sources import SourceIndex
from core.stage import Resources, ShardResult, ShardStage, StageContext, Unit
from merge.stage import MergeInputs

SCRATCH = "tmp"
MODELS = "models"
POINTS = "points"


@dataclass(frozen=True)
class SweepScore:
    """A model's score on a benchmark.

    Args:
        benchmark: its name.
        group: ``domain`` or ``general``.
        correct: questions answered rightly.
        total: questions with a key, unanswered ones included.
        unscored: those of them that the model could not answer.
    """

    benchmark: str
    group: str
    correct: int
    total: int
    unscored: int = 0


class Scorer(Protocol):
    """Scores a model folder. The evaluation is another package's: it is handed in."""

    @property
    def resources(self) -> Resources:
        """What scoring a model takes from the cluster."""

    def config(self) -> dict[str, Any]:
        """Returns everything in the recipe that scores depend on, as JSON values."""

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files."""

    def score(self, model: Path, scratch: Path, ctx: StageContext) -> list[SweepScore]:
        """Scores a model.

        Args:
            model: its folder.
            scratch: an existing folder for files of its own; deleted afterwards.
            ctx: the run.
        """


def score_rows(weight: float, scores: Iterable[SweepScore]) -> pa.Table:
    """Returns a point's scores as rows of :data:`core.schema.MERGE_SCORE`."""
    rows = []
    for score in scores:
        low, high = wilson(score.correct, score.total)
        rows.append(
            {
                "weight": weight,
                "benchmark": score.benchmark,
                "group": score.group,
                "correct": score.correct,
                "total": score.total,
                "accuracy": score.correct / score.total if score.total else None,
                "low": low,
                "high": high,
            }
        )
    return pa.Table.from_pylist(rows, schema=MERGE_SCORE)


class MergeSweepStage(ShardStage):
    """Merges and scores at every weight; a unit of work is one weight."""

    name = "merge.sweep"
    description: ClassVar[str] = "merge at several weights and score each"
    schema = MERGE_SCORE
    row_unit = "merge"
    reconcile: ClassVar[str] = "every merge gives one row per benchmark"

    def __init__(self, section: Merge, chat: Chat | None, scorer: Scorer) -> None:
        """Describes the sweep.

        Args:
            section: with its ``sweep``.
            chat: the recipe's ``synth.chat``; None without it.
            scorer: scores a model folder.
        """
        if section.sweep is None:
            raise ValueError("the recipe has no merge.sweep")
        self._sweep = section.sweep
        self._models = MergeInputs(section, chat)
        self._scorer = scorer
        self.inputs = self._models.stages
        self.actors = section.sweep.at_once
        self.resources = scorer.resources

    def config(self) -> dict[str, Any]:
        """Returns the merge, the weights and how models are scored."""
        return {**self._point_config(), "weights": sorted(self._sweep.weights)}

    def _point_config(self) -> dict[str, Any]:
        merge = self._models.config()
        for entry in merge["models"]:
            del entry["weight"]  # the sweep's own take its place
        kept = {key: value for key, value in merge.items() if key not in ("t", "measure", "hub")}
        return {"merge": kept, "keep": self._sweep.keep, "score": self._scorer.config()}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of models that are the user's folders, and the benchmarks."""
        return self._models.source_files(ctx, self.name) + self._scorer.source_files(ctx)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per weight; removes what a killed sweep left.

        Raises:
            InputError: the models do not fit together, or there is too little room.
        """
        from merge.budget import check_budget
        from merge.preflight import preflight

        folder = ctx.folder(self.name)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        self._remove_unwanted(folder / MODELS)
        budget = preflight(
            self._models.folders(ctx), self._models.section.out_dtype, folder, self.name
        )
        if self._sweep.keep:
            merged = [w for w in self._sweep.weights if not _kept(folder, w).is_dir() and 0 < w < 1]
            check_budget(budget.times(len(merged)), self.name)
        content = [Manifest.require(ctx.folder(name), name).digest for name in self.inputs]
        content.append(sources.digest(self.source_files(ctx)))
        return [
            Unit(number, {"weight": weight}, sha256_value([weight, content]))
            for number, weight in enumerate(sorted(self._sweep.weights))
        ]

    def _remove_unwanted(self, models: Path) -> None:
        wanted = {_kept(models.parent, w).name for w in self._sweep.weights if self._sweep.keep}
        for path in models.iterdir() if models.is_dir() else []:
            if path.name not in wanted:
                shutil.rmtree(path, ignore_errors=True)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Merges and scores at one weight."""
        weight = float(unit.payload["weight"])
        # A list of weights that grows must not cost the points that are there: runs go by all of
        # the configuration, this file by what the point depends on.
        digest = sha256_value([self.code_version, self._point_config(), ctx.seed, unit.digest])
        point = ctx.folder(self.name) / POINTS / f"{digest[:32]}.json"
        scores = _read_point(point)
        if scores is None or (self._sweep.keep and not self._is_kept(ctx, weight)):
            scores = self._score(weight, unit.index, ctx)
            write_json(point, [asdict(score) for score in scores])
        return ShardResult(
            kept=score_rows(weight, scores),
            rows_in=1,
            rows_out=1,
            metrics={"questions_not_answered": sum(score.unscored for score in scores)},
        )

    def _is_kept(self, ctx: StageContext, weight: float) -> bool:
        return weight in (0, 1) or _kept(ctx.folder(self.name), weight).is_dir()

    def _score(self, weight: float, number: int, ctx: StageContext) -> list[SweepScore]:
        folder = ctx.folder(self.name)
        scratch = folder / SCRATCH / f"point-{number:05d}"
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / "score").mkdir(parents=True)
        try:
            model = self._model(weight, scratch / "model", ctx)
            scores = self._scorer.score(model, scratch / "score", ctx)
            if self._sweep.keep and model.is_relative_to(scratch):
                kept = _kept(folder, weight)
                shutil.rmtree(kept, ignore_errors=True)
                kept.parent.mkdir(exist_ok=True)
                model.rename(kept)
            return scores
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _model(self, weight: float, out: Path, ctx: StageContext) -> Path:
        from merge.run import merge_models

        folders = self._models.folders(ctx)
        section = self._models.section
        if weight in (0, 1):
            return folders[section.models[int(weight)].model]
        point = section.at(weight).model_copy(update={"measure": False})
        merge_models(point, folders, ctx.seed, self._models.chat, out, self.name)
        return out


def _kept(folder: Path, weight: float) -> Path:
    return folder / MODELS / f"weight-{weight!r}"


def _read_point(path: Path) -> Sequence[SweepScore] | None:
    try:
        return [SweepScore(**row) for row in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return None
