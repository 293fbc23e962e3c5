"""The recipe sections ``merge`` and ``eval`` as stages.

::

                  [sweep] -> [sweep_figure]
    models -> merged -> mcq, heldout -> scores -> [value], [control] -> report
                 +----> [general_tasks] -> [general] ------------------+
    questions -> [questions_clean] -> [questions_report] --------------+
"""

from __future__ import annotations

from collections.abc import Sequence

from core.graph import AnyStage
from core.recipe.eval import Eval
from core.recipe.model import Recipe
from corpus.decontaminate import ContaminationReportStage
from eval.cleaning.report import QuestionsReportStage
from eval.cleaning.stage import QuestionsCleanStage
from eval.general.control import ControlComparisonStage
from eval.general.report_stage import GeneralStage
from eval.general.stage import GeneralTasksStage
from eval.heldout import HeldoutStage
from eval.mcq.stage import McqStage
from eval.report.stage import ReportStage
from eval.scores.stage import ScoresStage
from eval.value.stage import ValueStage
from merge.stage import MergeStage
from merge.sweep import MergeSweepStage
from merge.sweep_figure import SweepFigureStage
from ray_jobs.sweep_scorer import sweep_scorer


def merge_stages(recipe: Recipe) -> list[AnyStage]:
    """Returns the merge, and the sweep where the recipe has one."""
    if recipe.merge is None:
        return []
    chat = recipe.synth.chat if recipe.synth else None
    stages: list[AnyStage] = [MergeStage(recipe.merge, chat)]
    if recipe.merge.sweep is not None:
        stages += [
            MergeSweepStage(recipe.merge, chat, sweep_scorer(recipe)),
            SweepFigureStage(recipe.merge),
        ]
    return stages


def eval_stages(section: Eval, title: str, before: Sequence[AnyStage]) -> list[AnyStage]:
    """Returns what measures models and tells of it.

    Args:
        section: of the recipe.
        title: of the report.
        before: the recipe's other stages.
    """
    stages: list[AnyStage] = []
    if section.cleaning is not None:
        stages += [QuestionsCleanStage(section.cleaning), QuestionsReportStage()]
    stages.append(McqStage(section.mcq, section.models))
    if section.heldout:
        stages.append(HeldoutStage(section.heldout, section.local_models()))
    made = {stage.name for stage in before}
    report = ContaminationReportStage.name
    stages.append(
        ScoresStage(
            section.models,
            section.mcq.benchmarks,
            section.heldout,
            contamination=report if report in made else None,
        )
    )
    if section.general is not None:
        stages += [
            GeneralTasksStage(section.general, section.local_models()),
            GeneralStage(section.general, section.local_models()),
        ]
    if section.control is not None:
        stages.append(ControlComparisonStage(section.control, section.models))
    if section.value is not None:
        stages.append(ValueStage(section.value))
    stages.append(ReportStage(title, [stage.name for stage in [*before, *stages]]))
    return stages
