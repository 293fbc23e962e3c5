"""The judge's stages on the runner: rows add up, and a rule moves without judging again."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.graph import Pipeline
from core.manifest import Manifest
from core.progress import Reporter
from core.recipe.judge import Judge
from core.runner import run_pipeline
from core.schema import QA_PAIR
from core.sources import SourceIndex
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.judge.judged import open_judged
from synth.judge.keep import PairsStage
from synth.judge.report import JudgeReportStage
from synth.judge.stage import JudgeStage


class Written(ShardStage):
    """Three shards of pairs; every fourth question leans on a text."""

    name = "synth.qa"
    description = "pairs"
    row_unit = "pair"
    schema = QA_PAIR

    def config(self) -> dict[str, Any]:
        return {}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        return [Unit(n, {}, str(n)) for n in range(3)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        from tests.synth.judge.conftest import pairs_table

        asked = [
            f"What does {'the paper' if n % 4 == 0 else 'a star'} number {n} do?" for n in range(8)
        ]
        table = pairs_table(*[(question, "It shines.") for question in asked])
        ids = [f"qa:{unit.index}{n}" for n in range(8)]
        return ShardResult(table.set_column(0, QA_PAIR.field(0), [ids]), [], 8)


@pytest.fixture(autouse=True, scope="module")
def _by_value(ray_session: None) -> Iterator[None]:
    from ray import cloudpickle

    modules = [sys.modules[__name__], sys.modules["tests.synth.judge.conftest"]]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


def run(folder: Path, **keep: int) -> list[str]:
    judge = Judge.model_validate({"engine": {"kind": "rules"}, "keep": keep})
    pipeline = Pipeline(
        [
            Written(),
            JudgeStage(judge, "synth.qa", "corpus.filter"),
            PairsStage(judge, "synth.judge"),
            JudgeReportStage(judge, "synth.judge", None),
        ],
        StageContext(run_dir=folder, root=folder, seed=1),
    )
    reporter = Reporter(Console(file=io.StringIO()))
    return run_pipeline(pipeline, pipeline.select(), reporter, workers=2)


def test_the_stages_on_the_runner(tmp_path: Path) -> None:
    assert len(run(tmp_path)) == 4
    pairs = Manifest.require(tmp_path / "synth" / "pairs", "synth.pairs")
    assert (pairs.rows_in, pairs.rows_out, pairs.rejects) == (24, 18, {"low_score": 6})
    judged = Manifest.require(tmp_path / "synth" / "judge", "synth.judge")
    assert judged.metrics == {
        "correctness_5": 24,
        "overall_1": 6,
        "overall_5": 18,
        "pertinence_5": 24,
        "stand_alone_1": 6,
        "stand_alone_5": 18,
    }
    assert open_judged(tmp_path).least["overall"] == 5
    assert run(tmp_path, stand_alone=1, overall=1) == ["synth.pairs", "synth.judge_report"]
    assert open_judged(tmp_path).least["overall"] == 1
    assert Manifest.require(tmp_path / "synth" / "pairs", "synth.pairs").rows_out == 24
