"""The planted pairs, and the measure of a judge on them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.llm import open_engine
from core.recipe.judge import Judge
from core.stage import StageContext
from synth.judge.examples import EXAMPLES_FILE, read_examples
from synth.judge.measure import Measured, measure, read_planted

FILE = Path("samples/judge/planted.jsonl")


def run(checkout: Path, context: StageContext, **section: Any) -> Measured:
    judge = Judge.model_validate(section)
    engine = open_engine(judge.engine, judge.engine.model)
    return measure(judge, context, engine, read_planted(checkout / FILE))


def test_there_are_enough_pairs_of_every_kind(checkout: Path) -> None:
    planted = read_planted(checkout / FILE)
    kinds = Counter(pair.fault for pair in planted)
    assert set(kinds) == {"none", "wrong", "context", "trivial"}
    assert sum(kinds.values()) - kinds["none"] >= 45
    assert kinds["none"] >= 45
    assert min(kinds.values()) >= 15
    assert len({pair.pair_id for pair in planted}) == len(planted)
    assert len({pair.question for pair in planted}) == len(planted)


def test_no_planted_question_is_an_example_of_the_prompt(checkout: Path) -> None:
    shown = {example.question.lower() for example in read_examples(EXAMPLES_FILE)}
    assert not shown & {pair.question.lower() for pair in read_planted(checkout / FILE)}


def test_rules_with_the_passage_are_better_than_chance(
    checkout: Path, context: StageContext
) -> None:
    found = run(checkout, context, engine={"kind": "rules"}, passage=True)
    assert (found.unparsed, len(found.outcomes)) == (0, 102)
    good, kept = found.precision
    assert good / kept > 0.7
    assert found.recall[0] / found.recall[1] > 0.7
    caught, wrong = found.caught("wrong")
    assert caught / wrong > 0.7
    # Without the passage it cannot tell a wrong answer.
    blind = run(checkout, context, engine={"kind": "rules"})
    assert blind.caught("wrong")[0] < caught
    assert found.faults == ["wrong", "context", "trivial"]
    assert found.count() == 102
    assert found.count("none") == found.recall[1]
    json.dumps(found.record())


def test_a_rule_that_lets_all_pass_has_full_recall(checkout: Path, context: StageContext) -> None:
    least = dict.fromkeys(("correctness", "stand_alone", "pertinence", "overall"), 1)
    found = run(checkout, context, engine={"kind": "rules"}, keep=least)
    assert found.recall == (46, 46)
    assert found.precision == (46, 102)


def test_what_cannot_be_read_drops_its_pair(
    checkout: Path, context: StageContext, tiny_folder: Path
) -> None:
    # No prompt fits this model's 256 positions.
    engine = {"kind": "transformers", "model": str(tiny_folder)}
    found = run(checkout, context, engine=engine, mode="completion")
    assert found.unparsed == 102
    assert (found.precision, found.recall) == ((0, 0), (0, 46))
    assert "context holds 256" in found.outcomes[0].why


@pytest.mark.parametrize("text", ["", "x", "{}", '{"pair_id": "a", "fault": ""}', "[]"])
def test_files_that_hold_no_pairs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(InputError, match="no planted pairs"):
        read_planted(path)
    path.write_text(text)
    with pytest.raises(InputError, match="no planted pairs"):
        read_planted(path)
