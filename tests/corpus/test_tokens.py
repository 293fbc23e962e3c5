from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from core.errors import InputError
from core.rejects import Reason
from core.schema import token_sequence
from core.shards import write_shard
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.tokens import TokensStage, pack_documents

PutShard = Callable[[str, pa.Table], Unit]


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_folder)
    return tokenizer


def _table(*texts: str) -> pa.Table:
    return documents_table([Document(f"a:{n}", "a", text=t) for n, t in enumerate(texts)])


def test_documents_stand_between_begin_and_end_of_text(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = ["Jupiter is the largest planet.", "Saturn has rings."]
    packed, rejects = pack_documents(_table(*texts), tokenizer, 64)
    assert rejects == []
    (row,) = packed.table.to_pylist()
    for span, text in zip(row["spans"], texts, strict=True):
        ids = row["input_ids"][span["start"] : span["start"] + span["length"]]
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[1:-1]) == text
        mask = row["loss_mask"][span["start"] : span["start"] + span["length"]]
        assert mask == [0] + [1] * (span["length"] - 1)
    used = packed.tokens
    assert row["input_ids"][used:] == [tokenizer.pad_token_id] * (64 - used)


def test_special_tokens_in_a_text_are_plain_text(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "The token <|eot_id|> ends a turn, <|end_of_text|> a text."
    packed, _ = pack_documents(_table(text), tokenizer, 128)
    ids = packed.table["input_ids"][0].as_py()[1 : packed.tokens - 1]
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids) == text


def test_any_trained_token_leads_back_to_its_document(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = [f"Star {n} is a star of Élise. " * (n + 1) for n in range(6)]
    packed, _ = pack_documents(_table(*texts), tokenizer, 32)
    whole = {
        f"a:{n}": tokenizer(t, add_special_tokens=False).input_ids for n, t in enumerate(texts)
    }
    for row in packed.table.to_pylist():
        for span in row["spans"]:
            there = [None, *whole[span["doc_id"]], tokenizer.eos_token_id]
            for offset in range(span["length"]):
                token = row["input_ids"][span["start"] + offset]
                expected = there[span["doc_start_token"] + offset]
                assert token == (tokenizer.bos_token_id if expected is None else expected)
    assert packed.runs_cut > 0


def test_best_fit_keeps_documents_whole(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = [f"Star {n} is a star of Élise. " * (n + 1) for n in range(6)]
    packed, _ = pack_documents(_table(*texts), tokenizer, 128, "best_fit")
    concat, _ = pack_documents(_table(*texts), tokenizer, 128)
    assert packed.tokens == concat.tokens
    assert packed.runs_cut < concat.runs_cut
    for row in packed.table.to_pylist():
        for span in row["spans"]:
            ids = row["input_ids"][span["start"] : span["start"] + span["length"]]
            if span["doc_start_token"] == 0 and ids[-1] == tokenizer.eos_token_id:
                text = texts[int(span["doc_id"].removeprefix("a:"))]
                assert tokenizer.decode(ids[1:-1]) == text


def test_a_shard_is_the_same_bytes_as_before(tmp_path: Path, tiny_folder: Path) -> None:
    """Rows made one by one from Python lists, as the first version of the stage did."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    texts = [f"Élise measured α Centauri at {n}.37 light-years. 🎉\n" * n for n in range(1, 12)]
    length, flat, owners = 64, [], []
    for number, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        ids = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        flat += ids
        owners += [(f"a:{number}", at) for at in range(len(ids))]
    rows = []
    for start in range(0, len(flat), length):
        ids, own = flat[start : start + length], owners[start : start + length]
        pad = length - len(ids)
        begins = [i for i in range(len(own)) if i == 0 or own[i][1] == 0]
        ends = [*begins[1:], len(own)]
        spans = [
            {"doc_id": own[b][0], "doc_start_token": own[b][1], "start": b, "length": e - b}
            for b, e in zip(begins, ends, strict=True)
        ]
        position = [i - max(b for b in begins if b <= i) for i in range(len(own))]
        mask = [int(i not in begins) for i in range(len(own))]
        rows.append(
            {
                "input_ids": ids + [tokenizer.pad_token_id] * pad,
                "loss_mask": mask + [0] * pad,
                "position_ids": position + list(range(pad)),
                "spans": spans,
            }
        )
    expected = pa.Table.from_pylist(rows, schema=token_sequence(length))
    packed, _ = pack_documents(_table(*texts), tokenizer, length)
    for name, table in (("old", expected), ("new", packed.table)):
        write_shard(tmp_path / name, table)
    assert (tmp_path / "old").read_bytes() == (tmp_path / "new").read_bytes()


def test_a_tokenizer_without_begin_or_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    bare = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    bare.bos_token = bare.pad_token = None
    packed, _ = pack_documents(_table("Titan"), bare, 32)
    ids = packed.table["input_ids"][0].as_py()
    assert bare.decode(ids[: packed.tokens - 1]) == "Titan"
    assert set(ids[packed.tokens - 1 :]) == {bare.eos_token_id}


def test_a_document_without_a_token_is_rejected(tokenizer: PreTrainedTokenizerBase) -> None:
    packed, rejects = pack_documents(_table("", "Titan", ""), tokenizer, 32)
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("a:0", Reason.EMPTY_TEXT),
        ("a:2", Reason.EMPTY_TEXT),
    ]
    assert [s["doc_id"] for s in packed.table["spans"][0].as_py()] == ["a:1"]


def test_a_document_that_was_never_read_is_rejected(tokenizer: PreTrainedTokenizerBase) -> None:
    table = documents_table([Document("a:0", "a", text=None), Document("a:1", "a", text="Io")])
    packed, rejects = pack_documents(table, tokenizer, 32)
    assert [r.doc_id for r in rejects] == ["a:0"]
    assert packed.table.num_rows == 1


def test_a_tokenizer_without_an_end_of_text_is_an_error(tiny_folder: Path) -> None:
    bare = AutoTokenizer.from_pretrained(tiny_folder)
    bare.eos_token = None
    with pytest.raises(InputError, match="no end-of-text token"):
        pack_documents(_table("Titan"), bare, 32)


def test_no_document_gives_no_sequence(tokenizer: PreTrainedTokenizerBase) -> None:
    packed, rejects = pack_documents(_table(), tokenizer, 32)
    assert (packed.table.num_rows, rejects) == (0, [])
    packed, rejects = pack_documents(_table("", ""), tokenizer, 32)
    assert (packed.table.num_rows, len(rejects)) == (0, 2)


def test_the_stage(context: StageContext, put_shard: PutShard, tiny_folder: Path) -> None:
    stage = TokensStage("corpus.tokens", "corpus.filter", str(tiny_folder), 32)
    unit = put_shard("corpus.filter", _table("Jupiter is large. " * 20, "", "Titan"))
    result = stage.process(unit, context)
    assert result.kept.schema == token_sequence(32) == stage.schema
    assert (result.rows_in, result.rows_out, len(result.rejected)) == (3, 2, 1)
    assert result.metrics["sequences"] == result.kept.num_rows > 1
    assert stage.inputs == ("corpus.filter",)
    assert stage.row_group_rows == (1 << 19) // 32
    best = TokensStage("corpus.tokens", "corpus.filter", str(tiny_folder), 32, "best_fit")
    assert stage.config_digest(context) != best.config_digest(context)


def test_the_tokenizer_may_come_from_a_stage(
    context: StageContext, put_shard: PutShard, tiny_folder: Path
) -> None:
    made = context.folder("train.base")
    made.mkdir(parents=True)
    (made / "model").symlink_to(tiny_folder)
    stage = TokensStage("corpus.tokens", "corpus.filter", "train.base", 32)
    assert stage.inputs == ("corpus.filter", "train.base")
    result = stage.process(put_shard("corpus.filter", _table("Titan")), context)
    assert result.kept.num_rows == 1
    # The seed is of no matter to the tokens.
    again = stage.process(put_shard("corpus.filter", _table("Titan")), replace(context, seed=2))
    assert again.kept.equals(result.kept)
