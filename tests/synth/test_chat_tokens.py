from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from core.chat import render_text
from core.recipe.chat import Chat
from core.rejects import Reason
from core.schema import CONVERSATION, token_sequence
from core.stage import StageContext, Unit
from synth.chat_tokens import ChatTokensStage, pack_conversations

PutShard = Callable[[str, pa.Table], Unit]


def _turns(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": "assistant" if n % 2 else "user", "content": c} for n, c in enumerate(contents)
    ]


def _table(*conversations: list[Any]) -> pa.Table:
    rows = [{"conv_id": f"c{n}", "messages": m} for n, m in enumerate(conversations)]
    return pa.Table.from_pylist(rows, schema=CONVERSATION)


def test_conversations_stay_whole_and_read_back(tokenizer: PreTrainedTokenizerFast) -> None:
    chats = [_turns(f"What is star {n}?", f"Star {n} is a star. " * (n + 1)) for n in range(8)]
    length = 320
    packed, rejects = pack_conversations(_table(*chats), tokenizer, Chat(sequence_length=length))
    assert rejects == []
    assert packed.runs_cut == 0
    spans = [(row, span) for row in packed.table.to_pylist() for span in row["spans"]]
    assert [span["doc_id"] for _, span in spans] == [f"c{n}" for n in range(8)]
    for (row, span), chat in zip(spans, chats, strict=True):
        here = slice(span["start"], span["start"] + span["length"])
        ids, mask = row["input_ids"][here], row["loss_mask"][here]
        assert tokenizer.decode(ids) == render_text(chat)
        trained = [i for i, m in zip(ids, mask, strict=True) if m]
        assert tokenizer.decode(trained) == chat[1]["content"].strip() + "<|eot_id|>"


def test_only_the_assistants_turns_are_trained(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = _turns("First?", "One.", "Second?", "Two.")
    packed, _ = pack_conversations(_table(chat), tokenizer, Chat(sequence_length=512))
    (row,) = packed.table.to_pylist()
    trained = [i for i, m in zip(row["input_ids"], row["loss_mask"], strict=True) if m]
    assert tokenizer.decode(trained) == "One.<|eot_id|>Two.<|eot_id|>"
    assert packed.trained_tokens == len(trained)


def test_the_date_is_the_recipes(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = Chat(sequence_length=512, date_string="01 Jan 2000")
    packed, _ = pack_conversations(_table(_turns("Hi", "Hello")), tokenizer, chat)
    text = tokenizer.decode(packed.table["input_ids"][0].as_py())
    assert "Today Date: 01 Jan 2000" in text


@pytest.mark.parametrize(
    ("messages", "detail"),
    [
        ([], "no user turn"),
        (_turns("A question without an answer"), "the last turn is of the user"),
        (_turns("Hi", "a<|eot_id|>b"), "turn 1: control token"),
        ([{"role": "user", "content": None}], "turn 0: the content is not text"),
        ([{"role": "robot", "content": "x"}], "turn 0: unknown role 'robot'"),
    ],
)
def test_bad_turns(tokenizer: PreTrainedTokenizerFast, messages: list[Any], detail: str) -> None:
    table = _table(_turns("Hi", "Hello"), messages)
    packed, (reject,) = pack_conversations(table, tokenizer, Chat(sequence_length=512))
    assert (reject.doc_id, reject.reason) == ("c1", Reason.BAD_TURNS)
    assert reject.detail.startswith(detail)
    assert reject.text == " | ".join(str(m["content"]) for m in messages)
    assert packed.table.num_rows == 1


def test_too_long(tokenizer: PreTrainedTokenizerFast) -> None:
    chats = [_turns("Hi", "Hello"), _turns("Hi", "Hello " * 300), _turns("Hi", "Bye")]
    ids = tokenizer(render_text(chats[0]), add_special_tokens=False)["input_ids"]
    chat = Chat(sequence_length=len(ids))
    packed, (reject,) = pack_conversations(_table(*chats), tokenizer, chat)
    assert (reject.doc_id, reject.reason) == ("c1", Reason.TOO_LONG)
    assert reject.detail.endswith(f" tokens, at most {len(ids)}")
    assert reject.text is not None
    assert reject.text.startswith("Hi | Hello Hello")
    # One that fits exactly is kept and nothing is padded.
    assert packed.table["input_ids"][0].as_py() == ids


def test_the_stage(
    context: StageContext, put_shard: PutShard, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(context.folder("train.base") / "model")
    chat = Chat(sequence_length=256, system_prompt="is in the conversations already")
    stage = ChatTokensStage("synth.sft_tokens", "synth.conversations", "train.base", chat)
    unit = put_shard("synth.conversations", _table(_turns("Hi", "Hello"), _turns("Hi")))
    result = stage.process(unit, context)
    assert result.kept.schema == token_sequence(256) == stage.schema
    assert (result.rows_in, result.rows_out, len(result.rejected)) == (2, 1, 1)
    assert result.metrics["sequences"] == 1
    assert stage.inputs == ("synth.conversations", "train.base")
    assert stage.config() == {
        "tokenizer": "train.base",
        "sequence_length": 256,
        "date_string": "26 Jul 2024",
    }


def test_a_shard_may_lose_all_its_conversations(tokenizer: PreTrainedTokenizerFast) -> None:
    packed, rejects = pack_conversations(_table([]), tokenizer, Chat(sequence_length=64))
    assert (packed.table.num_rows, len(rejects)) == (0, 1)
    packed, rejects = pack_conversations(_table(), tokenizer, Chat(sequence_length=64))
    assert (packed.table.num_rows, rejects) == (0, [])
