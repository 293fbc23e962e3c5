from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from core.chat import render_text, rendered_turns
from core.errors import InputError, UsageError
from core.lineage import open_stage
from core.recipe.chat import Chat, Reasoning
from core.schema import CONVERSATION
from core.tokenizer import load_tokenizer
from ray_jobs.show_conversation import conversation_named, conversation_number
from ray_jobs.synth_commands import add_synth_commands, coloured
from synth.chat_tokens import pack_conversations
from tests.made_run import put_stage

Show = Callable[..., Result]

LENGTH = 320


def _talk(number: int, answers: int, **more: Any) -> dict[str, Any]:
    turns = [
        {"role": role, "content": f"{role} {number} {turn}"}
        for turn in range(answers)
        for role in ("user", "assistant")
    ]
    row = {"conv_id": f"c{number}", "dataset": "set", "messages": turns, "reasoning": False}
    return {**row, "doc_ids": [], **more}


ROWS = [
    _talk(0, 1, doc_ids=["arxiv:1"]),
    _talk(1, 3),
    _talk(2, 2, reasoning=True),
    _talk(3, 1),
    _talk(4, 1),
    _talk(5, 2),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A run with conversations in two shards, and their tokens."""
    run = tmp_path_factory.mktemp("made") / "run"
    (run / "train/base").mkdir(parents=True)
    (run / "train/base/model").symlink_to(tiny_folder)
    tables = [pa.Table.from_pylist(rows, schema=CONVERSATION) for rows in (ROWS[:4], ROWS[4:])]
    put_stage(run, "synth.instruct", tables, row_unit="conversation")
    chat = Chat(sequence_length=LENGTH, reasoning=Reasoning())
    tokenizer = load_tokenizer(str(tiny_folder))
    packed = [pack_conversations(table, tokenizer, chat)[0].table for table in tables]
    put_stage(
        run,
        "synth.sft_tokens",
        packed,
        config={"tokenizer": "train.base", **chat.model_dump(exclude={"system_prompt"})},
        inputs=["synth.instruct"],
        row_unit="conversation",
    )
    return run


@pytest.fixture
def show() -> Show:
    """Runs ``astromill synth show`` in this process."""
    app = typer.Typer()
    app.callback()(lambda: None)
    add_synth_commands(app)

    def call(folder: Path, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["show", str(folder), *arguments], env={"COLUMNS": "200"})

    return call


def test_every_conversation_is_shown_as_it_is_trained(made: Path) -> None:
    link = open_stage(made, "synth.sft_tokens")
    assert sum(file.rows or 0 for file in link.manifest.shards) >= 3
    for number, row in enumerate(ROWS):
        shown = conversation_number(link, number)
        assert shown == conversation_named(link, row["conv_id"])
        assert (shown.conv_id, shown.dataset, shown.doc_ids) == (
            row["conv_id"],
            "set",
            row["doc_ids"],
        )
        turns = rendered_turns(row, link.manifest.config)
        assert "".join(piece.text for piece in shown.pieces) == render_text(turns)
        answers = [m["content"] + "<|eot_id|>" for m in turns if m["role"] == "assistant"]
        assert [piece.text for piece in shown.pieces if piece.trained] == answers
    assert "detailed thinking on" in conversation_number(link, 2).pieces[0].text


def test_before_there_are_tokens(made: Path) -> None:
    link = open_stage(made / "synth/instruct")
    for number, row in enumerate(ROWS):
        shown = conversation_number(link, number)
        assert shown == conversation_named(link, row["conv_id"])
        assert "".join(piece.text for piece in shown.pieces) == render_text(row["messages"])
        trained = [piece.text for piece in shown.pieces if piece.trained]
        assert trained == [m["content"] + "<|eot_id|>" for m in row["messages"][1::2]]
        assert shown.tokens is None


def test_the_page(made: Path, show: Show) -> None:
    out = show(made, "0").output
    assert "conversation c0\n" in out
    assert "written from arxiv:1\n" in out
    assert "place        synth.sft_tokens, sequence 0, tokens 0 to " in out
    assert "<|end_header_id|>\n\n⟦assistant 0 0<|eot_id|>⟧" in out
    assert out.count("⟦") == 2  # one answer, and the legend
    assert "set, reasons" in show(made, "2").output


def test_a_whole_sequence(made: Path, show: Show) -> None:
    lines = show(made, "--sequence", "0", "--json").output.splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["conv_id"] for one in found] == ["c0", "c1"]
    assert all(one["sequence"] == 0 for one in found)
    assert found[0]["pieces"][1] == {"text": "assistant 0 0<|eot_id|>", "trained": True}


def test_a_stage_by_name_and_by_folder(made: Path, show: Show) -> None:
    by_name = show(made, "1", "--stage", "synth.instruct").output
    assert by_name == show(made / "synth/instruct", "1").output
    assert "synth.instruct, before tokens" in by_name


def test_colours(made: Path) -> None:
    shown = conversation_number(open_stage(made, "synth.sft_tokens"), 0)
    console = Console(force_terminal=True, width=400, soft_wrap=True, color_system="standard")
    with console.capture() as capture:
        console.print(coloured(shown))
    said = capture.get()
    assert "\x1b[32m⟦assistant 0 0" in said
    assert "\x1b[1;36muser\x1b[0m" in said
    assert "\x1b[2m<|begin_of_text|>" in said


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "one of N, --conv-id and --sequence is needed"),
        (["1", "--sequence", "0"], "one of N, --conv-id and --sequence is needed"),
        (["6"], "there is no conversation 6 in synth.sft_tokens"),
        (["6", "--stage", "synth.instruct"], "there is no conversation 6 in synth.instruct"),
        (["--conv-id", "c9"], "synth.sft_tokens holds no conversation c9"),
        (["--conv-id", "c9", "--stage", "synth.instruct"], "synth.instruct holds no conversation"),
        (["--sequence", "99"], "there is no sequence 99"),
        (["--sequence", "0", "--stage", "synth.instruct"], "holds conversations, no sequences"),
    ],
)
def test_wrong_use(made: Path, show: Show, arguments: list[str], what: str) -> None:
    error = show(made, *arguments).exception
    assert isinstance(error, UsageError)
    assert what in error.what


def test_negative_numbers_are_none(made: Path) -> None:
    for stage in ("synth.sft_tokens", "synth.instruct"):
        with pytest.raises(UsageError):
            conversation_number(open_stage(made, stage), -1)


def test_a_stage_that_holds_neither(tmp_path: Path) -> None:
    put_stage(tmp_path, "synth.other", [pa.table({"n": [1]})])
    with pytest.raises(InputError, match="holds no token sequences"):
        conversation_number(open_stage(tmp_path, "synth.other"), 0)


def test_a_conversation_that_cannot_be_rendered(tmp_path: Path) -> None:
    bad = [{"conv_id": "bad", "messages": [{"role": "user", "content": "Hi"}]}]
    put_stage(tmp_path, "synth.talk", [pa.Table.from_pylist(bad, schema=CONVERSATION)])
    with pytest.raises(InputError, match="an answer is missing"):
        conversation_number(open_stage(tmp_path, "synth.talk"), 0)


def test_the_tokenizer_of_a_folder_taken_out_of_its_run(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "synth/sft_tokens", tmp_path / "alone")
    link = open_stage(tmp_path / "alone")
    with pytest.raises(InputError, match="is not in this run"):
        conversation_number(link, 0)
    tokenizer = str(made / "train/base/model")
    shown = conversation_number(link, 0, tokenizer)
    assert (shown.conv_id, shown.dataset) == ("c0", None)
