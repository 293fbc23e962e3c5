"""The control experiment's questions: in the benchmark's own format, and none of its questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.overlap import Rules
from core.recipe.control import Control
from core.recipe.eval import Benchmark, Mcq
from core.rejects import Reason
from core.schema import CONVERSATION
from core.sources import SourceIndex
from core.stage import ShardResult, StageContext
from eval.items import Item, load_items
from eval.mcq.prompts import Shown, choice_request, score_requests, written_request
from synth.control import ControlStage, conversation, shown_order

ITEM = Item("q1", "What is felt made of?", ("Wool", "Tin", "Sand"), answer=0, topic="crafts")
BENCHMARK = Benchmark(name="b", path="b.jsonl")


def _put(path: Path, *records: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _record(number: int, **more: Any) -> dict[str, Any]:
    return {
        "item_id": f"c{number}",
        "question": f"Which of these four things belongs into drawer number {number} of the desk?",
        "choices": ["a ruler", "a whale", "a bridge", "a cloud"],
        "answer": "A",
        **more,
    }


def _run(context: StageContext, section: Control, **benchmarks: str) -> list[ShardResult]:
    stage = ControlStage(section, load_items, benchmarks, Rules())
    units = stage.plan(context, SourceIndex(context.root, context.run_dir / "sources.json"))
    results = [stage.process(unit, context) for unit in units]
    for result in results:
        assert result.kept.schema == CONVERSATION
        assert result.rows_in == result.kept.num_rows + len(result.rejected)
    return results


@pytest.mark.parametrize("mode", ["json", "letter", "text"])
def test_the_prompt_is_the_benchmarks_own(mode: str) -> None:
    values: dict[str, Any] = {"benchmarks": [BENCHMARK]}
    mcq = Mcq(**values)
    order = [2, 0, 1]
    shown = Shown(ITEM, order)
    asked: tuple[dict[str, str], ...]
    if mode == "json":
        asked = written_request(shown, mcq, "json", seed=0).messages
    elif mode == "letter":
        asked = choice_request(shown, mcq, BENCHMARK, [], chat=True).messages
    else:
        asked = score_requests(ITEM, mcq, chat=True)[0].messages
    section = Control(
        paths=["x"],
        format=mode,  # type: ignore[arg-type]
        system_prompt=None if mode == "text" else mcq.system_prompt,
    )
    turns = conversation(ITEM, section, order)
    assert list(asked) == turns[:-1]
    answer = turns[-1]["content"]
    if mode == "json":
        assert json.loads(answer) == {"reasoning": "The right choice is: Wool", "answer": "B"}
    else:
        assert answer == {"letter": "B", "text": "Wool"}[mode]


def test_files_become_conversations_and_their_rest_rejects(context: StageContext) -> None:
    known = "Which planet of the Solar System has the shortest year and is nearest to the Sun?"
    _put(context.root / "bench.jsonl", _record(0, question=known))
    _put(
        context.root / "c.jsonl",
        _record(1),
        _record(2, answer=None),
        _record(3, topic="college_astronomy"),
        _record(4, topic="gastronomy"),
        _record(5, question="What is a galaxy cluster, please, in one word?"),
        _record(6, question=known),
        _record(7, answer="F"),
    )
    section = Control(paths=["c.jsonl"], format="letter", drop_keywords=["galaxy"])
    (result,) = _run(context, section, bench="bench.jsonl")
    assert result.kept["conv_id"].to_pylist() == ["control:c:c1", "control:c:c4"]
    assert set(result.kept["dataset"].to_pylist()) == {"control"}
    found = {r.doc_id.split(":")[-1]: r.reason for r in result.rejected}
    assert found == {
        "c2": Reason.MALFORMED_RECORD,
        "c3": Reason.EXCLUDED_CATEGORY,
        "c5": Reason.KEYWORD,
        "c6": Reason.CONTAMINATED,
        "7": Reason.MALFORMED_RECORD,
    }
    contaminated = next(r for r in result.rejected if r.reason is Reason.CONTAMINATED)
    assert contaminated.detail.startswith("bench:c0 (")
    assert sum(result.metrics.values()) == 2


def test_every_layout_of_questions_is_read(context: StageContext) -> None:
    (context.root / "mmlu").mkdir()
    (context.root / "mmlu" / "a.csv").write_text("What is felt made of?,Wool,Tin,Ice,Sand,A\n" * 1)
    arc = {
        "id": "arc1",
        "question": {
            "stem": "What do bees make?",
            "choices": [{"text": "Honey", "label": "1"}, {"text": "Milk", "label": "2"}],
        },
        "answerKey": "1",
    }
    _put(context.root / "mmlu" / "b.jsonl", arc)
    first, second = _run(context, Control(paths=["mmlu"], format="text", system_prompt=None))
    assert [t["content"] for t in first.kept["messages"][0].as_py()] == [ITEM.question, "Wool"]
    assert [t["content"] for t in second.kept["messages"][0].as_py()] == [
        "What do bees make?",
        "Honey",
    ]


def test_choices_are_shown_in_an_order_of_the_seed() -> None:
    section = Control(paths=["x"])
    items = [Item(str(n), "q", ("a", "b", "c", "d"), answer=0) for n in range(400)]
    places = [shown_order(item, section, 1).index(0) for item in items]
    # Of 400, 100 each; 60 and 140 are more than four standard deviations away.
    assert all(60 < places.count(place) < 140 for place in range(4))
    assert places == [shown_order(item, section, 1).index(0) for item in items]
    assert places != [shown_order(item, section, 2).index(0) for item in items]
    still = Control(paths=["x"], shuffle=False)
    assert shown_order(items[0], still, 1) == [0, 1, 2, 3]


def test_a_missing_file_is_named(context: StageContext) -> None:
    with pytest.raises(InputError, match=r"no file found for 'gone.jsonl'"):
        _run(context, Control(paths=["gone.jsonl"]))
