"""Which judged pairs stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from core.recipe.judge import Judge
from core.rejects import Reason
from core.schema import QA_SCORED
from core.stage import StageContext, Unit
from synth.judge.judged import Judged
from synth.judge.keep import PairsStage, minimums, split_pairs
from tests.synth.judge.conftest import PERFECT, scored_table

PutShard = Callable[[str, pa.Table], Unit]

SCORES = [PERFECT, (4, 5, 5, 5), (5, 1, 5, 5), (5, 5, 2, 5), (5, 5, 5, 4), (3, 2, 1, 1)]


def judge(**values: Any) -> Judge:
    return Judge.model_validate({"engine": {"kind": "transformers", "model": "m"}, **values})


def kept(table: pa.Table, section: Judge) -> list[str]:
    least = minimums(section.keep, section.scale)
    by_expected = section.keep.by == "expected"
    stay, rejects = split_pairs(table, least, by_expected)
    assert stay.num_rows + len(rejects) == table.num_rows
    # The rule for Polars, which reports use, is the same rule.
    from pathlib import Path

    judged = Judged(Path(), section.scale, least, by_expected)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    ids: list[str] = stay["qa_id"].to_pylist()
    assert frame.filter(judged.kept_expression())["qa_id"].to_list() == ids
    return [qa_id.removeprefix("qa:000") for qa_id in ids]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({}, "0"),
        ({"correctness": 4}, "01"),
        ({"stand_alone": 1}, "02"),
        ({"pertinence": 2, "overall": 4}, "034"),
        ({"correctness": 3, "stand_alone": 3, "pertinence": 3, "overall": 3}, "014"),
        ({"correctness": 1, "stand_alone": 1, "pertinence": 1, "overall": 1}, "012345"),
    ],
)
def test_minimums(keep: dict[str, Any], expected: str) -> None:
    assert kept(scored_table(SCORES), judge(keep=keep)) == list(expected)


def test_rejects_name_scores_and_text() -> None:
    _, rejects = split_pairs(scored_table(SCORES), minimums(judge().keep, 5))
    assert [r.detail for r in rejects] == [
        "correctness 4 < 5",
        "stand_alone 1 < 5",
        "pertinence 2 < 5",
        "overall 4 < 5",
        "correctness 3 < 5, stand_alone 2 < 5, pertinence 1 < 5, overall 1 < 5",
    ]
    assert {r.reason for r in rejects} == {Reason.LOW_SCORE}
    assert rejects[0].doc_id == "qa:0001"
    assert json.loads(rejects[0].text or "")["answer"] == "Answer 1."


def test_by_expected_score() -> None:
    means = [[4.9, 4.9, 4.9, 4.9], [4.5, 4.5, 4.5, 4.5], [4.9, 4.9, 4.9, 4.4], None]
    table = scored_table([PERFECT] * 4, means)
    assert kept(table, judge(calibrated=True, keep={"by": "expected"})) == ["0", "1"]
    strict = {"by": "expected", "overall": 4.6}
    assert kept(table, judge(calibrated=True, keep=strict)) == ["0"]
    # The integers alone say nothing of it.
    assert kept(table, judge(calibrated=True)) == ["0", "1", "2", "3"]
    _, rejects = split_pairs(table, dict.fromkeys(minimums(judge().keep, 5), 4.5), True)
    assert rejects[0].detail == "overall 4.4 < 4.5"
    assert rejects[1].detail.startswith("no expected correctness, ")


def test_a_rating_asks_for_overall_alone() -> None:
    table = scored_table([(None, None, None, 10), (None, None, None, 7)])
    assert kept(table, judge(mode="rating")) == ["0"]
    assert kept(table, judge(mode="rating", keep={"overall": 7})) == ["0", "1"]


def test_the_stage(context: StageContext, put_shard: PutShard) -> None:
    unit = put_shard("synth.judge", scored_table(SCORES))
    stage = PairsStage(judge(), "synth.judge")
    done = stage.process(unit, context)
    assert done.kept.schema == QA_SCORED
    assert (done.rows_in, done.kept.num_rows, len(done.rejected)) == (6, 1, 5)
    assert stage.aligned == ("synth.judge",)
    empty = stage.process(put_shard("synth.judge", QA_SCORED.empty_table()), context)
    assert (empty.kept.num_rows, empty.rejected) == (0, [])


def test_the_rule_is_in_the_fingerprint_and_the_judge_is_not() -> None:
    config = PairsStage(judge(), "synth.judge").config()
    assert config == PairsStage(judge(explain=True, workers=3), "synth.judge").config()
    assert config == PairsStage(judge(keep={"overall": 5}), "synth.judge").config()
    assert config != PairsStage(judge(keep={"overall": 4}), "synth.judge").config()
