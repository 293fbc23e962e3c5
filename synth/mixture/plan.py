"""Mixture, step 2 (reduce): which conversations are taken, how often, and where each goes.

Memory: about 300 bytes per conversation, and the pages of signatures that lie in files mapped into
memory, which the system may drop.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from core.atomic import write_json
from core.errors import InputError
from core.recipe.mixture import Mixture
from core.shards import shard_paths
from core.stage import JobResult, JobStage, StageContext
from synth.mixture.choice import choose, read_rows
from synth.mixture.plan_files import write_plan
from synth.mixture.report import PLOT_NAME, REPORT_NAME, draw_mixture, mixture_report


class MixturePlanStage(JobStage):
    """What the mixture is made of."""

    name = "synth.mixture_plan"
    description = "Which conversations are taken, how often, and in which order; report and plot."
    row_unit = "conversation"
    reconcile = "Counts conversations; nothing is removed here."

    def __init__(self, section: Mixture, rows: str) -> None:
        """Args: the section, and the stage that describes the conversations."""
        self.inputs = (rows,)
        self._section = section

    def config(self) -> dict[str, Any]:
        """Returns the section; how conversations are described is in their rows."""
        values = self._section.model_dump(mode="json", exclude={"sets", "shingle_words"})
        entries = [
            {**each.model_dump(mode="json"), "near_duplicates": each.without_near}
            for each in self._section.entries
        ]
        return {**values, "sets": entries}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the plan, ``report.json`` and ``mixture.png``.

        Raises:
            RecipeError: an entry of the recipe names no set.
            InputError: nothing is left to train on.
        """
        rows = read_rows(shard_paths(ctx.folder(self.inputs[0])))
        work = out / "work"
        choice = choose(rows, self._section, work)
        shutil.rmtree(work, ignore_errors=True)
        report = mixture_report(rows, choice, self._section)
        if not report["total"]["rows"]:
            raise InputError(
                f"of {rows.count} conversations none is left for the mixture",
                where="synth.mixture",
                remedy="see the rejects of the stages that make conversations, and the sets that "
                "synth.mixture.sets names",
            )
        per_shard = self._section.conversations_per_shard
        plan = write_plan(rows, choice, ctx.seed, per_shard, out)
        write_json(out / REPORT_NAME, report)
        draw_mixture(report, out / PLOT_NAME)
        metrics = {
            **{name: count for name, count in report["total"].items() if name != "rows_in"},
            "shards": len(plan.output_rows),
            "pairs_compared": choice.compared,
            "left_uncompared": choice.left,
        }
        return JobResult(rows_in=rows.count, rows_out=rows.count, metrics=metrics)
