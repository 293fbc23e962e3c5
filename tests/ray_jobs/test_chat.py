from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from core.errors import EngineError, InputError, UsageError
from core.talk.conversation import Conversation
from core.talk.local import LocalVoice
from core.talk.voice import Voice
from ray_jobs.chat_commands import add_chat_commands
from ray_jobs.chat_display import printable
from ray_jobs.chat_loop import ChatLoop, Drawing, Spoken, Talk
from tests.talk_model import ANSWER, NEXT, NEXT_ANSWER, QUESTION, THOUGHT, thinker_folder

Chat = Callable[..., Result]


@pytest.fixture(scope="module")
def thinker() -> Path:
    return thinker_folder()


@pytest.fixture(scope="module")
def voice(thinker: Path) -> LocalVoice:
    torch.set_num_threads(1)
    return LocalVoice(thinker, "thinker")


@pytest.fixture
def chat(thinker: Path) -> Chat:
    """Runs ``astromill chat`` with a piped question."""
    app = typer.Typer()
    add_chat_commands(app)

    def call(question: str | bytes, *arguments: str, model: Path | None = thinker) -> Result:
        given = [str(model)] if model else []
        return CliRunner().invoke(app, [*given, *arguments], input=question)

    return call


# --- Through a pipe


@pytest.mark.parametrize("options", [(), ("--think",), ("--think", "--hide-reasoning")])
def test_a_pipe_gets_the_answer_alone(chat: Chat, options: tuple[str, ...]) -> None:
    result = chat(f"{QUESTION}\n", *options)
    assert (result.stdout, result.exit_code) == (f"{ANSWER}\n", 0)


def test_what_is_wrong_with_a_piped_question(chat: Chat, tmp_path: Path) -> None:
    for empty in ("", "  \n"):
        assert isinstance(chat(empty).exception, UsageError)
    assert chat(b"What is Titan?\xff\xfe").stdout.strip(), "bytes that are no UTF-8 are read"
    refused = chat("say <|eot_id|>").exception
    assert isinstance(refused, UsageError)
    assert "control token" in refused.what
    assert isinstance(chat("word " * 500).exception, UsageError)
    nothing = chat(QUESTION, "--think", "--max-tokens", "3")
    assert isinstance(nothing.exception, EngineError)
    assert "did not end its reasoning" in nothing.exception.what
    assert nothing.stdout == ""
    cut = chat(QUESTION, "--max-tokens", "3")
    assert cut.exit_code == 0
    assert ANSWER.startswith(cut.stdout.strip())
    assert "cut off" in cut.stderr
    assert isinstance(chat("?", model=None).exception, UsageError)
    assert isinstance(chat("?", model=tmp_path / "none").exception, InputError)
    away = chat("?", "--server", "http://127.0.0.1:1", model=None).exception
    assert isinstance(away, EngineError)
    assert "astromill serve" in away.remedy


def test_a_base_model_continues_the_text(chat: Chat, thinker: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(thinker, tmp_path / "base"))
    (folder / "chat_template.jinja").unlink()
    result = chat("Titan is", "--max-tokens", "5", model=folder)
    assert result.exit_code == 0
    assert result.stdout.strip()
    assert "no chat template" in result.stderr


def test_a_stage_needs_its_recipe(chat: Chat) -> None:
    refused = chat("?", model=Path("merge.merged")).exception
    assert isinstance(refused, UsageError)
    assert "--recipe" in refused.remedy


# --- In a terminal


def talked(voice: Voice, lines: list[str], **settings: Any) -> tuple[str, Talk]:
    """Runs the loop over lines; returns what was shown, and the talk."""
    out = StringIO()
    console = Console(file=out, width=120, force_terminal=False)
    talk = Talk(voice, Conversation(), Drawing(), **settings)
    waiting: Iterator[str] = iter(lines)

    def read(prompt: str) -> str:
        line = next(waiting, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    ChatLoop(talk, console, read).run()
    return out.getvalue(), talk


def test_ctrl_c_between_an_answer_and_the_prompt_ends_nothing(voice: LocalVoice) -> None:
    class Interrupted(Talk):
        def keep(self, question: str, spoken: Spoken) -> bool:
            raise KeyboardInterrupt

    out = StringIO()
    talk = Interrupted(voice, Conversation(), Drawing(max_tokens=2))
    lines = iter([QUESTION, "/help", "/quit"])
    ChatLoop(talk, Console(file=out, width=120), lambda prompt: next(lines)).run()
    assert "/nothink" in out.getvalue()


def test_turns_commands_and_reasoning(voice: LocalVoice, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    lines = [QUESTION, "/think", NEXT, f"/save {saved}", f"/save {saved}", "/reset", "^C", ""]
    shown, talk = talked(voice, [*lines, "/hide", QUESTION, "/quit", QUESTION])
    assert shown.count(ANSWER) == 2
    assert NEXT_ANSWER in shown
    assert "Io circles Jupiter." in shown
    # Hidden: what was reasoned is one line of how long it took.
    assert THOUGHT not in shown
    assert f"thought for 0.{shown.partition('thought for 0.')[2][0]} s, 4 tokens" in shown
    assert "is there already" in shown
    assert "Ctrl-D or /quit ends" in shown
    kept = json.loads(saved.read_text())
    contents = [m["content"] for m in kept["messages"]]
    assert contents == [QUESTION, ANSWER, NEXT, NEXT_ANSWER], "no reasoning in the turns"
    assert kept["reasoning"] == ["", "Io circles Jupiter."]
    assert [turn.answer for turn in talk.conversation.turns] == [ANSWER]


def test_commands_that_ask_for_something_else(voice: LocalVoice, tmp_path: Path) -> None:
    lines = ["/help", "/nonsense", "/system", "/system Be brief.", "/system", "/system -"]
    lines += ["/save", f"/save {tmp_path}/\0", "/save ~nobody-of-that-name/x", "/show"]
    shown, talk = talked(voice, lines)
    assert "/nothink" in shown
    assert "there is no command /nonsense" in shown
    assert "there is no system prompt" in shown
    assert "Be brief." in shown
    assert talk.conversation.system is None
    assert "write /save FILE" in shown
    assert shown.count("cannot write") == 2


def test_the_oldest_turns_are_left_out_and_that_is_said(voice: LocalVoice) -> None:
    long = "long " * 25
    shown, _ = talked(voice, [long] * 4)
    assert "the context of 256 tokens is full: the oldest 1 of" in shown
    assert "word " not in shown
    shown, _ = talked(voice, ["long " * 400, QUESTION])
    assert "the model's context holds 256" in shown
    assert ANSWER in shown, "the program goes on"


def test_long_lines_and_lines_that_begin_with_a_slash(voice: LocalVoice) -> None:
    _, talk = talked(voice, ["What is\\", "Titan?", "//think about it"])
    questions = [turn.question for turn in talk.conversation.turns]
    assert questions == ["What is\nTitan?", "/think about it"]
    assert not talk.conversation.thinking


def test_a_model_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\tc\nd\x9b2J\x7f\r") == "a[31mb\tc\nd2J"


PROGRAM = "import typer; from ray_jobs.chat_commands import add_chat_commands as add; \
app = typer.Typer(); add(app); app()"


def hear_interrupts() -> None:
    """Undoes what a shell does to what it starts in the background: that ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A real terminal with the program in it."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )
        os.close(slave)
        self.seen = ""

    def expect(self, text: str, seconds: float = 120) -> None:
        """Waits until a text has come since the last one."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen[-2000:]!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self._master, 65536).decode("utf-8", "replace")
                except OSError:  # the program has closed the terminal
                    assert text in self.seen, f"it ended without {text!r}: {self.seen[-2000:]!r}"
        self.seen = self.seen.partition(text)[2]

    def expect_more(self, seconds: float = 120) -> None:
        """Waits until anything but blanks has come."""
        end = time.monotonic() + seconds
        while not self.seen.strip():
            assert time.monotonic() < end, "nothing has come"
            if select.select([self._master], [], [], 0.2)[0]:
                self.seen += os.read(self._master, 65536).decode("utf-8", "replace")

    def interrupt(self) -> None:
        """Presses Ctrl-C."""
        os.kill(self.process.pid, signal.SIGINT)

    def until(self, text: str, act: Callable[[], None]) -> None:
        """Does something until a text has come.

        Python hears Ctrl-C at its prompt only while it waits there: one that comes while readline
        draws a character is kept until the next key, and takes the line with it.
        """
        for _ in range(10):
            act()
            with contextlib.suppress(AssertionError):
                self.expect(text, 30)
                return
        raise AssertionError(f"no {text!r} in {self.seen[-2000:]!r}")

    def type(self, content: bytes) -> None:
        """Types keys."""
        os.write(self._master, content)


def test_a_real_terminal_survives_ctrl_c_and_bad_bytes(thinker: Path) -> None:
    terminal = Terminal(str(thinker), "--max-tokens", "200", "--temperature", "2", "--seed", "1")
    try:
        terminal.expect(">>> ")
        terminal.type(b"\xff\xfe?\n")
        terminal.expect("?")
        # While it answers, Ctrl-C stops the answer and nothing else.
        terminal.expect_more()
        terminal.interrupt()
        # Not the prompt alone: readline draws it anew while bytes come that are no characters.
        terminal.until("there is no system prompt", lambda: terminal.type(b"/system\n"))
        terminal.expect(">>> ")
        terminal.type(b"half a line")
        terminal.expect("half a line")
        terminal.until("Ctrl-D or /quit ends", terminal.interrupt)
        terminal.expect(">>> ")
        terminal.type(b"\x04")
        assert terminal.process.wait(timeout=300) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
