from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from core.errors import InputError, RecipeError
from core.recipe.instruct import Instruct, InstructSet
from core.rejects import Reason
from core.schema import CONVERSATION
from core.sources import SourceIndex
from core.stage import ShardResult, StageContext, Unit
from synth.instruct import blocks
from synth.instruct.stage import InstructStage

HUMAN, GPT = {"from": "human", "value": "What is Io?"}, {"from": "gpt", "value": "A moon."}
TALK = {"conversations": [HUMAN, GPT]}
TALK_TURNS = [
    {"role": "user", "content": "What is Io?"},
    {"role": "assistant", "content": "A moon."},
]


def _set(name: str, *paths: str, **more: Any) -> InstructSet:
    return InstructSet(name=name, paths=list(paths), **more)


def _stage(*sets: InstructSet) -> InstructStage:
    return InstructStage(Instruct(sets=list(sets)))


def _plan(stage: InstructStage, context: StageContext) -> list[Unit]:
    return stage.plan(context, SourceIndex(context.root, context.run_dir / "sources.json"))


def _run(stage: InstructStage, context: StageContext) -> list[ShardResult]:
    results = [stage.process(unit, context) for unit in _plan(stage, context)]
    for result in results:
        assert result.kept.schema == CONVERSATION
        assert result.rows_in == result.kept.num_rows + len(result.rejected)
    return results


def _put(context: StageContext, name: str, *records: Any) -> Path:
    path = context.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_sets_become_conversations_with_counts(context: StageContext) -> None:
    _put(context, "a/x.jsonl", {**TALK, "id": "i1"}, {**TALK, "id": "i1"}, {"text": "none"})
    claim = {"conversations": [HUMAN, {"from": "gpt", "value": "I am ChatGPT."}]}
    _put(context, "a/y.jsonl", claim)
    thought = {"input": [TALK_TURNS[0]], "output": "<think>\nHm\n</think>\n\nA moon."}
    pq.write_table(pa.Table.from_pylist([thought]), context.root / "n.parquet")
    first, second, third = _run(_stage(_set("hub", "a"), _set("nemotron", "n.parquet")), context)
    assert first.kept["conv_id"].to_pylist() == ["hub:x.jsonl@0:i1", "hub:x.jsonl@112:i1"]
    assert first.kept["messages"].to_pylist() == [TALK_TURNS] * 2
    assert set(first.kept["dataset"].to_pylist()) == {"hub"}
    assert first.kept["doc_ids"].to_pylist() == [[], []]
    (reject,) = first.rejected
    assert (reject.doc_id, reject.reason) == ("hub:x.jsonl@224", Reason.MALFORMED_RECORD)
    assert reject.text == '{"text": "none"}'
    assert first.metrics == {"hub.records": 3, "hub.kept": 2, "hub.malformed_record": 1}
    assert second.metrics == {"hub.records": 1, "hub.identity_claim": 1}
    assert third.kept["reasoning"].to_pylist() == [True]
    assert third.metrics == {"nemotron.records": 1, "nemotron.kept": 1, "nemotron.reasoning": 1}


def test_a_large_file_is_several_shards_with_the_same_rows(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(context, "x.jsonl", *[{**TALK, "id": n} for n in range(30)])
    stage = _stage(_set("hub", "x.jsonl"))
    (whole,) = _run(stage, context)
    monkeypatch.setattr(blocks.file_blocks, "__defaults__", (500,))
    parts = _run(stage, context)
    assert len(parts) > 5
    assert pa.concat_tables([part.kept for part in parts]) == whole.kept


def test_rows_are_columns_before_there_are_many(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(context, "x.jsonl", *[TALK] * 10)
    monkeypatch.setattr("synth.instruct.stage._CHUNK_ROWS", 3)
    (result,) = _run(_stage(_set("hub", "x.jsonl")), context)
    assert result.kept.num_rows == 10


def test_files_of_one_name_have_ids_of_their_own(context: StageContext) -> None:
    _put(context, "code/p.jsonl", TALK)
    _put(context, "chat/p.jsonl", TALK)
    results = _run(_stage(_set("hub", "code", "chat")), context)
    ids = [name for result in results for name in result.kept["conv_id"].to_pylist()]
    assert ids == ["hub:chat/p.jsonl@0", "hub:code/p.jsonl@0"]


def test_a_unit_changes_with_its_file_and_its_filters(context: StageContext) -> None:
    path = _put(context, "x.jsonl", TALK)
    (before,) = _plan(_stage(_set("hub", "x.jsonl")), context)
    path.write_text(json.dumps({**TALK, "id": 1}))
    (after,) = _plan(_stage(_set("hub", "x.jsonl")), context)
    assert before.digest != after.digest
    plain, strict = _stage(_set("hub", "x.jsonl")), _stage(_set("hub", "x.jsonl", max_chars=9))
    assert plain.config_digest(context) != strict.config_digest(context)


def test_paths_that_name_nothing(context: StageContext) -> None:
    with pytest.raises(InputError) as error:
        _plan(_stage(_set("hub", "absent")), context)
    assert error.value.where == "synth.instruct.sets, hub: paths"


def test_a_language_that_cannot_be_told(context: StageContext) -> None:
    _put(context, "x.jsonl", TALK)
    with pytest.raises(RecipeError, match="'xx' cannot be told"):
        _plan(_stage(_set("hub", "x.jsonl", language="xx")), context)


@pytest.mark.parametrize("names", [["a", "a"], ["a b"], ["a:b"], [""]])
def test_names_of_sets(names: list[str]) -> None:
    with pytest.raises(ValidationError):
        _stage(*(_set(name, "x") for name in names))
