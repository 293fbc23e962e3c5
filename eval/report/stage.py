"""The report: one HTML page without outside resources, from whatever stages have finished.

It is for people who did not run the recipe: what the models score and how sure that is, how
training went, what the text is made of, what was thrown away and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from core.atomic import write_text
from core.stage import JobResult, JobStage, StageContext

PAGE = "index.html"


class ReportStage(JobStage):
    """Writes ``index.html``."""

    name = "eval.report"
    description: ClassVar[str] = "One HTML page about the run"
    code_version: ClassVar[int] = 2
    remote: ClassVar[bool] = True
    volatile: ClassVar[Sequence[str]] = (PAGE,)
    row_unit = "stage"

    def __init__(
        self, title: str, stage_names: Sequence[str], inputs: Sequence[str] | None = None
    ) -> None:
        """Takes what to report on.

        Args:
            title: heading of the page.
            stage_names: stages of the run in running order; unfinished ones are named as such.
            inputs: stages that must have finished; default: all of ``stage_names``.
        """
        self._title = title
        self._stage_names = tuple(stage_names)
        self.inputs = self._stage_names if inputs is None else tuple(inputs)

    def config(self) -> dict[str, Any]:
        """Returns title and stages."""
        return {"title": self._title, "stages": list(self._stage_names)}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the page."""
        # matplotlib and the templates would slow down every command.
        from eval.report.gather import gather
        from eval.report.page import render

        data = gather(ctx, self._stage_names)
        write_text(out / PAGE, render(self._title, data))
        finished = len(data.stages)
        return JobResult(rows_in=finished, rows_out=finished)
