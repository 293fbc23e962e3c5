"""The control experiment's comparison: verdicts, sentences, and the stage on real answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import RecipeError, UsageError
from core.recipe.control import ControlComparison
from core.recipe.eval import Benchmark
from core.schema import PREDICTION
from core.shards import write_shard
from core.stage import StageContext
from eval.general.control import ControlComparisonStage, verdict_of
from eval.scores.stage import ScoresStage

MODELS = {"sft": "train.sft", "merged": "merge.merged", "control": "train.control"}
ITEMS = 1200


def _pair(difference: float, low: float, high: float, p_holm: float) -> dict[str, Any]:
    return {"difference": difference, "low": low, "high": high, "p_holm": p_holm}


GAIN = _pair(0.06, 0.04, 0.08, 1e-6)


@pytest.mark.parametrize(
    ("start_merged", "merged_control", "verdict"),
    [
        (GAIN, _pair(-0.001, -0.012, 0.010, 1.0), "practice"),
        # Significant, and still within the margin: near-identical.
        (GAIN, _pair(-0.012, -0.019, -0.005, 0.01), "practice"),
        (GAIN, _pair(-0.05, -0.07, -0.03, 1e-4), "more"),
        (GAIN, _pair(0.05, 0.03, 0.07, 1e-4), "control_better"),
        (GAIN, _pair(0.0, -0.05, 0.05, 1.0), "open"),
        (_pair(0.01, -0.01, 0.03, 0.4), _pair(0.0, -0.01, 0.01, 1.0), "no_gain"),
        (_pair(-0.06, -0.08, -0.04, 1e-6), _pair(0.0, -0.01, 0.01, 1.0), "no_gain"),
    ],
)
def test_verdicts(
    start_merged: dict[str, Any], merged_control: dict[str, Any], verdict: str
) -> None:
    assert verdict_of(start_merged, merged_control, 0.02) == verdict


def _scored(ctx: StageContext, right: dict[str, set[int]]) -> None:
    """Writes predictions in which the models are right on some questions, and scores them."""
    lines = [
        {"item_id": f"q{n}", "question": f"Question {n}?", "choices": ["a", "b"], "answer": "A"}
        for n in range(ITEMS)
    ]
    ctx.root.mkdir(exist_ok=True)
    (ctx.root / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [
        {
            "item_id": f"q{n}",
            "benchmark": "b",
            "model": model,
            "mode": "json",
            "permutation": 0,
            "order": [0, 1],
            "choice": 0 if n in known else 1,
            "correct": n in known,
            "logprobs": None,
            "raw_text": "",
            "read_by": "json",
        }
        for model, known in right.items()
        for n in range(ITEMS)
    ]
    table = pa.Table.from_pylist(rows, schema=PREDICTION)
    write_shard(ctx.folder("eval.mcq") / "part-00000.parquet", table)
    ScoresStage(MODELS, [Benchmark(name="b", path="b.jsonl")]).run(ctx, ctx.folder("eval.scores"))


def test_from_answers_to_words(context: StageContext, tmp_path: Path) -> None:
    _scored(
        context,
        {
            "sft": set(range(700)),
            "merged": set(range(10, 800)),
            "control": set(range(12, 796)),
        },
    )
    stage = ControlComparisonStage(ControlComparison(), MODELS)
    result = stage.run(context, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "control.json").read_text())
    (group,) = found["groups"]
    assert (group["group"], group["verdict"]) == ("domain", "practice")
    assert result.metrics == {"verdict_domain": "practice"}
    merged, control, last = group["pairs"]
    assert (merged["a"], merged["b"], merged["a_only"], merged["b_only"]) == (
        "sft",
        "merged",
        10,
        100,
    )
    assert merged["difference"] == pytest.approx(90 / ITEMS)
    assert (control["a_only"], control["b_only"]) == (12, 96)
    assert (last["a"], last["b"], last["a_only"], last["b_only"]) == ("merged", "control", 6, 0)
    text = (tmp_path / "out" / "control.md").read_text()
    assert "| merged | control | 1200 | 65.8% | 65.3% | −0.5 (" in text
    assert "control, which learned the form alone, is near-identical to merged." in text
    assert group["sentences"][0].startswith("merged against sft: +7.5 points (95% interval +5.")


def test_a_name_that_is_no_model_is_refused(context: StageContext, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'instruct' is no model"):
        ControlComparisonStage(ControlComparison(merged="instruct"), MODELS)
    with pytest.raises(RecipeError, match="three different models"):
        ControlComparisonStage(ControlComparison(merged="sft"), MODELS)
    everything = set(range(ITEMS))
    _scored(context, dict.fromkeys(MODELS, everything))
    stage = ControlComparisonStage(ControlComparison(start="sft:reasoning"), MODELS)
    with pytest.raises(UsageError, match="no answers of 'sft:reasoning'"):
        stage.run(context, tmp_path)
    ControlComparisonStage(ControlComparison(start="sft:json"), MODELS).run(context, tmp_path)
    found = json.loads((tmp_path / "control.json").read_text())
    assert found["groups"][0]["verdict"] == "no_gain"
