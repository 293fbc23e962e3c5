"""``eval.general``: the table of general benchmarks and its figures.

Files of the stage::

    general.json              all scores; shape in :mod:`eval.general.table`
    general.csv               raw scores in percent, a model a line
    general-benchmarks.svg    AstroMLab 3, Figure 4, left; and .png
    effect-of-training.svg    Figure 4, centre and right; and .png
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, ClassVar

from core.atomic import write_json, write_text
from core.recipe.general import General
from core.shards import read_shard, shard_paths
from core.stage import JobResult, JobStage, StageContext
from eval.general.figures import draw_figures
from eval.general.table import general_table, read_published, table_csv

TASKS_STAGE = "eval.general_tasks"


class GeneralStage(JobStage):
    """Adds up tasks to benchmarks and draws them."""

    name = "eval.general"
    description: ClassVar[str] = "Table and figures of the general benchmarks"
    row_unit = "score"
    inputs = (TASKS_STAGE,)

    def __init__(self, section: General, models: dict[str, str]) -> None:
        """Takes what was given to :class:`eval.general.stage.GeneralTasksStage`.

        Args:
            section: the recipe section.
            models: their order is the table's.
        """
        self._section = section
        self._models = list(models)

    def config(self) -> dict[str, Any]:
        """Returns the order of models and what is drawn."""
        drawn = {"tasks", "published", "figure_scores", "effect_of_cpt", "effect_of_sft", "limit"}
        return {
            "models": self._models,
            "general": self._section.model_dump(mode="json", include=drawn),
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the file of published scores."""
        published = self._section.published
        return [] if published is None else [ctx.path(published.path)]

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the files named in the module's docstring."""
        rows = [
            row
            for path in shard_paths(ctx.folder(TASKS_STAGE))
            for row in read_shard(path).drop_columns(["per_question"]).to_pylist()
        ]
        section = self._section
        published = read_published(ctx.path(section.published.path)) if section.published else {}
        table = general_table(rows, section, self._models, published)
        write_json(out / "general.json", table)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table_csv(table))
        write_text(out / "general.csv", text.getvalue())
        draw_figures(table, out)
        metrics = {f"average_{model}": value for model, value in table["average"].items()}
        return JobResult(rows_in=len(rows), rows_out=len(rows), metrics=metrics)
