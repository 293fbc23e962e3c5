"""Points of a sweep are scored as ``eval.mcq`` scores the recipe's models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import RecipeError
from core.recipe.mcq import Mcq
from core.recipe.merge import Merge
from core.sources import SourceIndex
from core.stage import StageContext, Unit
from eval.mcq.stage import McqStage
from merge.sweep import MergeSweepStage, SweepScore
from ray_jobs.sweep_scorer import McqScorer


def question(number: int, answer: str | None) -> dict[str, Any]:
    choices = [f"star {number + n}" for n in range(4)]
    return {
        "item_id": f"q{number}",
        "question": f"Which? {number}",
        "choices": choices,
        "answer": answer,
    }


@pytest.fixture
def section(tmp_path: Path) -> Mcq:
    for name, count in (("sky", 12), ("open", 3)):
        lines = [question(n, "ABCD"[n % 4] if name == "sky" else None) for n in range(count)]
        # One of them has no key, and one cannot be asked.
        lines += [question(100, None), question(101, "A") | {"question": "star " * 2000}]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    benchmarks = [
        {"name": "sky", "path": "sky.jsonl"},
        {"name": "open", "path": "open.jsonl", "group": "general"},
    ]
    return Mcq.model_validate({"benchmarks": benchmarks, "permutations": 1})


def test_scores_are_those_of_the_benchmark_stage(
    section: Mcq, merge_ctx: StageContext, tmp_path: Path
) -> None:
    model = Path(merge_ctx.model_path("train.sft"))
    ctx = StageContext(tmp_path / "run", tmp_path, seed=1)
    stage = McqStage(section, {"merged": str(model)})
    rows, lost = [], 0
    for unit in stage.plan(ctx, SourceIndex(tmp_path, tmp_path / "index.json")):
        done = stage.process(unit, ctx)
        rows += [r for r in done.kept.to_pylist() if not r["permutation"]]
        lost += len(done.rejected)
    right = sum(row["correct"] is True for row in rows if row["benchmark"] == "sky")
    keyed = sum(row["correct"] is not None for row in rows if row["benchmark"] == "sky")
    assert keyed + lost > 12

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scores = McqScorer(section, "merged").score(model, scratch, ctx)
    found = {score.benchmark: score for score in scores}
    assert found["sky"] == SweepScore("sky", "domain", right, 13, 13 - keyed)
    assert (found["open"].group, found["open"].correct) == ("general", 0)

    # At weight 0 that is what the sweep says: the first model's own score.
    point = Merge.model_validate(
        {
            "method": "linear",
            "models": [
                {"model": str(model), "weight": 0.75},
                {"model": merge_ctx.model_path("train.instruct"), "weight": 0.25},
            ],
            "sweep": {"weights": [0.0]},
        }
    )
    swept = MergeSweepStage(point, None, McqScorer(section, "merged"))
    table = swept.process(Unit(0, {"weight": 0.0}, "digest"), ctx).kept.to_pylist()
    (sky,) = [row for row in table if row["benchmark"] == "sky"]
    assert (sky["correct"], sky["total"]) == (right, 13)


def test_a_served_model_cannot_be_swept(section: Mcq) -> None:
    engine = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}
    served = Mcq.model_validate(section.model_dump() | {"engines": {"merged": engine}})
    with pytest.raises(RecipeError, match="'merged' is asked at a server"):
        McqScorer(served, "merged")
