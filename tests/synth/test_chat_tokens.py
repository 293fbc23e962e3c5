from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.chat import render_text
from core.errors import InputError
from core.recipe.chat import Chat, Reasoning
from core.recipe.train import TinyModel
from core.rejects import Reason
from core.schema import CONVERSATION, token_sequence
from core.stage import StageContext, Unit
from core.tiny import make_tiny_llama
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
    packed, rejects, _ = pack_conversations(_table(*chats), tokenizer, Chat(sequence_length=length))
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
    packed, _, _ = pack_conversations(_table(chat), tokenizer, Chat(sequence_length=512))
    (row,) = packed.table.to_pylist()
    trained = [i for i, m in zip(row["input_ids"], row["loss_mask"], strict=True) if m]
    assert tokenizer.decode(trained) == "One.<|eot_id|>Two.<|eot_id|>"
    assert packed.trained_tokens == len(trained)


def test_the_date_is_the_recipes(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = Chat(sequence_length=512, date_string="01 Jan 2000")
    packed, _, _ = pack_conversations(_table(_turns("Hi", "Hello")), tokenizer, chat)
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
    packed, (reject,), _ = pack_conversations(table, tokenizer, Chat(sequence_length=512))
    assert (reject.doc_id, reject.reason) == ("c1", Reason.BAD_TURNS)
    assert reject.detail.startswith(detail)
    assert reject.text == " | ".join(str(m["content"]) for m in messages)
    assert packed.table.num_rows == 1


def test_too_long(tokenizer: PreTrainedTokenizerFast) -> None:
    chats = [_turns("Hi", "Hello"), _turns("Hi", "Hello " * 300), _turns("Hi", "Bye")]
    ids = tokenizer(render_text(chats[0]), add_special_tokens=False)["input_ids"]
    chat = Chat(sequence_length=len(ids))
    packed, (reject,), _ = pack_conversations(_table(*chats), tokenizer, chat)
    assert (reject.doc_id, reject.reason) == ("c1", Reason.TOO_LONG)
    assert reject.detail.endswith(f" tokens, at most {len(ids)}")
    assert reject.text is not None
    assert reject.text.startswith("Hi | Hello Hello")
    # One that fits exactly is kept and nothing is padded.
    assert packed.table["input_ids"][0].as_py() == ids


def _length(tokenizer: PreTrainedTokenizerFast, chat: list[Any]) -> int:
    return len(tokenizer(render_text(chat), add_special_tokens=False)["input_ids"])


def test_cut_after_the_last_answer_that_fits(tokenizer: PreTrainedTokenizerFast) -> None:
    long = _turns("One?", "1.", "Two?", "2.", "Three?", "3. " * 300)
    first_too_long = _turns("One?", "1. " * 300)
    room = _length(tokenizer, long[:4])
    chat = Chat(sequence_length=room, too_long="cut_turns")
    packed, (reject,), counts = pack_conversations(_table(long, first_too_long), tokenizer, chat)
    assert tokenizer.decode(packed.table["input_ids"][0].as_py()) == render_text(long[:4])
    assert (counts["conversations_cut"], counts["turns_cut"]) == (1, 2)
    assert (reject.doc_id, reject.reason) == ("c1", Reason.TOO_LONG)
    # One token less, and the second answer is gone too.
    tight = Chat(sequence_length=room - 1, too_long="cut_turns")
    packed, _, counts = pack_conversations(_table(long), tokenizer, tight)
    span = packed.table["spans"][0].as_py()[0]
    assert span["length"] == _length(tokenizer, long[:2])
    assert (counts["conversations_cut"], counts["turns_cut"]) == (1, 4)


def test_reasoning_is_switched_per_conversation(tokenizer: PreTrainedTokenizerFast) -> None:
    thought = "<think>\nHm.\n</think>\n\nA moon."
    rows = [
        {"conv_id": "on", "messages": _turns("Io?", thought), "reasoning": True},
        {"conv_id": "off", "messages": _turns("Io?", "A moon."), "reasoning": False},
    ]
    table = pa.Table.from_pylist(rows, schema=CONVERSATION)
    switch = Reasoning(off="detailed thinking off")
    chat = Chat(sequence_length=1024, reasoning=switch)
    packed, _, counts = pack_conversations(table, tokenizer, chat)
    (row,) = packed.table.to_pylist()
    on, off = (row["input_ids"][s["start"] : s["start"] + s["length"]] for s in row["spans"])
    assert "2024\n\ndetailed thinking on<|eot_id|>" in tokenizer.decode(on)
    assert "2024\n\ndetailed thinking off<|eot_id|>" in tokenizer.decode(off)
    trained = [i for i, m in zip(row["input_ids"], row["loss_mask"], strict=True) if m]
    assert tokenizer.decode(trained) == f"{thought}<|eot_id|>A moon.<|eot_id|>"
    assert (counts["reasoning_on"], counts["reasoning_off"]) == (1, 1)


def test_batches_do_not_show(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = [_turns(f"What is star {n}?", "x " * n) if n % 3 else [] for n in range(1, 20)]
    whole = pack_conversations(_table(*chats), tokenizer, Chat(sequence_length=400))
    monkeypatch.setattr("synth.chat_tokens._BATCH_ROWS", 4)
    parts = pack_conversations(_table(*chats), tokenizer, Chat(sequence_length=400))
    assert parts == whole


def test_packed_conversations_do_not_see_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    """The model's outputs for a conversation are the same packed as alone (to 1e-6)."""
    chats = [_turns(f"What is star {n}?", f"Star {n} is a star. " * (n + 1)) for n in range(4)]
    length = 640
    packed, _, _ = pack_conversations(_table(*chats), tokenizer, Chat(sequence_length=length))
    (row,) = packed.table.to_pylist()
    shape = TinyModel(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=length,
    )
    model = make_tiny_llama(shape, tokenizer, seed=0).double().eval()

    def logits(ids: list[int], positions: list[int]) -> torch.Tensor:
        with torch.no_grad():
            # As the trainer calls it: no cache, no mask, positions that restart.
            return model(
                torch.tensor([ids]), position_ids=torch.tensor([positions]), use_cache=False
            ).logits[0]

    together = logits(row["input_ids"], row["position_ids"])
    assert len(row["spans"]) == 4
    for span, chat in zip(row["spans"], chats, strict=True):
        ids = tokenizer(render_text(chat), add_special_tokens=False)["input_ids"]
        here = slice(span["start"], span["start"] + span["length"])
        assert row["input_ids"][here] == ids
        assert row["position_ids"][here] == list(range(len(ids)))
        torch.testing.assert_close(
            together[here], logits(ids, list(range(len(ids)))), rtol=0, atol=1e-6
        )
    # The check can fail: with positions that do not restart, the second sees the first.
    leaking = logits(row["input_ids"], list(range(length)))
    second = row["spans"][1]
    here = slice(second["start"], second["start"] + second["length"])
    assert (leaking[here] - together[here]).abs().max() > 1e-3


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
        "reasoning": {"on": "detailed thinking on", "off": None, "off_sets": None},
        "too_long": "reject",
    }


def test_another_chat_form_is_an_error(context: StageContext, put_shard: PutShard) -> None:
    letters = {letter: n for n, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    plain = Tokenizer(models.BPE(letters, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    folder = context.folder("train.base") / "model"
    PreTrainedTokenizerFast(tokenizer_object=plain).save_pretrained(folder)
    chat = Chat(sequence_length=256)
    stage = ChatTokensStage("synth.sft_tokens", "synth.conversations", "train.base", chat)
    unit = put_shard("synth.conversations", _table(_turns("Hi", "Hello")))
    with pytest.raises(InputError, match=r"has no <\|begin_of_text\|>.*<\|eot_id\|>: it is not"):
        stage.process(unit, context)


def test_a_shard_may_lose_all_its_conversations(tokenizer: PreTrainedTokenizerFast) -> None:
    packed, rejects, _ = pack_conversations(_table([]), tokenizer, Chat(sequence_length=64))
    assert (packed.table.num_rows, len(rejects)) == (0, 1)
    packed, rejects, _ = pack_conversations(_table(), tokenizer, Chat(sequence_length=64))
    assert (packed.table.num_rows, rejects) == (0, [])
