from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import InputError
from core.recipe.instruct import Instruct
from core.rejects import Reason, Reject
from core.schema import CONVERSATION, QA_PAIR
from core.sources import SourceIndex
from core.stage import StageContext, Unit
from synth.conversations import (
    InstructStage,
    QaConversationsStage,
    conversations_from_pairs,
    read_conversations,
)

PutShard = Callable[[str, pa.Table], Unit]

USER = {"role": "user", "content": "What is Jupiter?"}
ASSISTANT = {"role": "assistant", "content": "A planet."}
SYSTEM = {"role": "system", "content": "Be brief."}
PAIRS = pa.Table.from_pylist(
    [
        {"qa_id": "qa:1", "doc_id": "a:1", "question": "What is Jupiter?", "answer": "A planet."},
        {"qa_id": "qa:2", "doc_id": "a:2", "question": "What is Titan?", "answer": "A moon."},
    ],
    schema=QA_PAIR,
)


def _line(*messages: Any, **more: Any) -> bytes:
    return json.dumps({"messages": list(messages), **more}).encode()


def _read(folder: Path, *lines: bytes, end: bytes = b"\n") -> tuple[pa.Table, list[Reject]]:
    path = folder / "set.jsonl"
    path.write_bytes(end.join(lines))
    table, rejects = read_conversations(path, "set")
    assert table.schema == CONVERSATION
    return table, rejects


# --- From pairs


def test_a_pair_is_one_turn_each() -> None:
    table = conversations_from_pairs(PAIRS, None)
    assert table.schema == CONVERSATION
    assert table.to_pylist()[0] == {
        "conv_id": "qa:1",
        "dataset": "qa",
        "messages": [USER, ASSISTANT],
        "reasoning": False,
        "doc_ids": ["a:1"],
    }


@pytest.mark.parametrize("prompt", [None, "", "Be brief."])
def test_a_system_prompt_comes_first(
    context: StageContext, put_shard: PutShard, prompt: str | None
) -> None:
    stage = QaConversationsStage("synth.qa", prompt)
    result = stage.process(put_shard("synth.qa", PAIRS), context)
    expected = [SYSTEM, USER, ASSISTANT] if prompt else [USER, ASSISTANT]
    assert result.kept["messages"][0].as_py() == expected
    assert (result.rows_in, result.kept.num_rows, result.rejected) == (2, 2, [])
    assert stage.config() == {"system_prompt": prompt}


def test_no_pairs() -> None:
    assert conversations_from_pairs(PAIRS.slice(0, 0), "x").num_rows == 0


# --- From files


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n  \n"])
def test_lines_become_conversations(tmp_path: Path, end: bytes) -> None:
    lines = [
        _line(USER, ASSISTANT),
        _line(SYSTEM, USER, ASSISTANT, USER, ASSISTANT, conv_id="named", extra=1),
        _line({"role": "system", "content": ""}, USER, {**ASSISTANT, "weight": 1}),
    ]
    table, rejects = _read(tmp_path, *lines, b"", end=end)
    assert rejects == []
    rows = table.to_pylist()
    assert rows[1]["conv_id"] == "named"
    assert rows[0]["dataset"] == "set"
    assert rows[1]["messages"] == [SYSTEM, USER, ASSISTANT, USER, ASSISTANT]
    assert rows[2]["messages"][-1] == ASSISTANT


def test_a_conversation_is_named_by_its_line(tmp_path: Path) -> None:
    table, _ = _read(tmp_path, _line(USER, ASSISTANT), b"", _line(USER, ASSISTANT))
    assert table["conv_id"].to_pylist() == ["set:1", "set:3"]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    line = json.dumps({"messages": [{**USER, "content": text}, ASSISTANT]}, ensure_ascii=False)
    table, _ = _read(tmp_path, line.encode())
    assert table["messages"][0].as_py()[0]["content"] == text


@pytest.mark.parametrize(
    "line",
    [
        b"{broken",
        b"null",
        b"5",
        b"[]",
        b'"text"',
        b"{}",
        b'{"messages": null}',
        b'{"messages": "text"}',
        b'{"messages": {"role": "user"}}',
        b'{"messages": [null]}',
        b'{"messages": [{"role": "user"}]}',
        b'{"messages": [{"from": "human", "value": "x"}]}',
        b'{"conversations": []}',
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"n": ' + b"1" * 5000 + b', "messages": []}',
    ],
)
def test_malformed_records(tmp_path: Path, line: bytes) -> None:
    table, (reject,) = _read(tmp_path, _line(USER, ASSISTANT), line)
    assert table.num_rows == 1
    assert (reject.doc_id, reject.reason) == ("set:2", Reason.MALFORMED_RECORD)
    assert reject.text == line[:4000].decode()
    assert ": " in reject.detail


@pytest.mark.parametrize(
    "line",
    [
        b'{"messages": [{"role": "user", "content": "caf\xe9"}]}',
        _line({**USER, "content": "half \ud83d"}, ASSISTANT),
        _line(USER, ASSISTANT, conv_id="\udc00"),
        b'{"messages": [{"role": "user", "content": "\xed\xa0\xbd"}]}',
    ],
)
def test_text_that_is_not_unicode(tmp_path: Path, line: bytes) -> None:
    table, (reject,) = _read(tmp_path, line)
    assert (table.num_rows, reject.doc_id, reject.reason) == (0, "set:1", Reason.INVALID_UTF8)


@pytest.mark.parametrize(
    ("messages", "detail"),
    [
        ([], "no user turn"),
        ([SYSTEM], "no user turn"),
        ([ASSISTANT, USER], "turn 0: assistant where user should speak"),
        ([USER, USER], "turn 1: user where assistant should speak"),
        ([USER, SYSTEM, ASSISTANT], "turn 1: system where assistant should speak"),
        ([USER, {**ASSISTANT, "content": " \n"}], "turn 1: empty assistant content"),
        ([{**USER, "content": ["parts"]}], "turn 0: the content is not text"),
        ([{**USER, "content": None}], "turn 0: the content is not text"),
        ([{**USER, "role": "human"}], "turn 0: unknown role 'human'"),
        ([{**USER, "role": ["user"]}], "turn 0: unknown role"),
        ([{**USER, "content": "a<|eot_id|>b"}], "turn 0: control token <|eot_id|>"),
    ],
)
def test_bad_turns(tmp_path: Path, messages: list[Any], detail: str) -> None:
    table, (reject,) = _read(tmp_path, _line(*messages))
    assert (table.num_rows, reject.doc_id, reject.reason) == (0, "set:1", Reason.BAD_TURNS)
    assert reject.detail.startswith(detail)
    assert reject.text == _line(*messages).decode()


def test_the_first_of_two_with_one_id_is_kept(tmp_path: Path) -> None:
    second = _line({**USER, "content": "Again?"}, ASSISTANT, conv_id="x")
    table, (reject,) = _read(tmp_path, _line(USER, ASSISTANT, conv_id="x"), second)
    assert table["messages"][0].as_py()[0] == USER
    assert (reject.doc_id, reject.reason, reject.detail) == ("x", Reason.DUPLICATE_ID, "set:2")


def test_an_empty_file(tmp_path: Path) -> None:
    table, rejects = _read(tmp_path, b"")
    assert (table.num_rows, rejects) == (0, [])


def test_the_stage_makes_a_shard_of_each_file(context: StageContext) -> None:
    folder = context.root / "chat"
    folder.mkdir()
    (folder / "b.jsonl").write_bytes(_line(USER, ASSISTANT) + b"\nbroken\n")
    (folder / "a.jsonl").write_bytes(_line(USER, ASSISTANT))
    (folder / "notes.txt").write_text("not this")
    stage = InstructStage(Instruct(paths=["chat"]))
    units = stage.plan(context, SourceIndex(context.root, context.run_dir / "sources.json"))
    assert [u.payload for u in units] == [{"file": "chat/a.jsonl"}, {"file": "chat/b.jsonl"}]
    a, b = (stage.process(unit, context) for unit in units)
    assert (a.rows_in, a.kept.num_rows, len(a.rejected)) == (1, 1, 0)
    assert (b.rows_in, b.kept.num_rows, len(b.rejected)) == (2, 1, 1)
    assert b.kept["dataset"].to_pylist() == ["b"]


def test_paths_that_name_nothing(context: StageContext) -> None:
    with pytest.raises(InputError) as error:
        InstructStage(Instruct(paths=["absent"])).source_files(context)
    assert error.value.where == "synth.instruct.paths"
