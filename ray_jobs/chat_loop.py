"""The conversation in a terminal, and the one question through a pipe (``astromill chat``)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from core.atomic import write_json
from core.chat import BadTurnsError
from core.counted import counted
from core.errors import AstromillError, EngineError, UsageError
from core.talk.conversation import Conversation
from core.talk.reasoning import Part
from core.talk.voice import Ask, Voice
from ray_jobs.chat_display import Display, Spoken

HELP = """\
/think          answers begin with reasoning
/nothink        they do not
/hide, /show    show how long was reasoned, or the reasoning itself
/system TEXT    set the system prompt; /system alone shows it, /system - removes it
/reset          forget the conversation
/save FILE      write the conversation as JSON
/help           this list
/quit           end (also Ctrl-D)
Ctrl-C stops an answer. A line that ends with \\ goes on in the next; one that begins with // is
a text that begins with /."""

_SPARE_TOKENS = 8
"""The beginning-of-text token, and ``<think>`` where the prompt ends with it."""


@dataclass
class Drawing:
    """How answers are drawn; see :class:`core.talk.voice.Ask`."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None


class Talk:
    """One conversation with one model.

    Args:
        voice: the model.
        conversation: system prompt, switch and turns.
        drawing: how answers are drawn.
        complete: plain text is continued instead of answered.
        reasoning_hidden: show only how long was reasoned.
    """

    def __init__(
        self,
        voice: Voice,
        conversation: Conversation,
        drawing: Drawing,
        complete: bool = False,
        reasoning_hidden: bool = False,
    ) -> None:
        self.voice, self.conversation, self.drawing = voice, conversation, drawing
        self.complete = complete
        self.reasoning_hidden = reasoning_hidden
        self.dropped = 0
        """Turns that the last question left out."""

    def ask(self, question: str) -> Ask:
        """Returns what to ask the model for a text of the user.

        Raises:
            BadTurnsError: it is empty, holds a control token or is too long.
        """
        d, window = self.drawing, self.voice.window
        if self.complete:
            tokens = self._room(self.voice.tokens(question))
            return Ask([], question, d.temperature, d.top_p, tokens, d.seed)
        # A quarter at least is the conversation's: a model of few tokens would else forget it all.
        reserve = d.max_tokens if window is None else min(d.max_tokens, window // 4)
        fitted = self.conversation.fit(question, self.voice.count, window, reserve)
        self.dropped = fitted.dropped
        tokens = self._room(fitted.prompt_tokens)
        prefill = self.conversation.thinking
        return Ask(fitted.messages, "", d.temperature, d.top_p, tokens, d.seed, prefill)

    def _room(self, prompt_tokens: int | None) -> int:
        """Returns the tokens that an answer may have: a server refuses more than there is room."""
        if self.voice.window is None or prompt_tokens is None:
            return self.drawing.max_tokens
        room = self.voice.window - prompt_tokens - _SPARE_TOKENS
        return max(1, min(self.drawing.max_tokens, room))

    def keep(self, question: str, spoken: Spoken) -> bool:
        """Keeps a turn for the next one; False where there was no answer."""
        if self.complete:
            return True
        return self.conversation.add(question, spoken.answer, spoken.reasoning)


def answer_pipe(talk: Talk, question_bytes: bytes, console: Console) -> None:
    """Answers one question, printing the answer and nothing else to standard output.

    Args:
        talk: with the model.
        question_bytes: of standard input; what is not UTF-8 is read as replacement characters.
        console: of standard error, for notes.

    Raises:
        UsageError: there is no question.
        EngineError: the model gave no answer.
    """
    question = question_bytes.decode("utf-8", "replace").strip()
    if not question:
        raise UsageError(
            "there is no question: standard input is empty",
            where="standard input",
            remedy='write one: echo "What is a pulsar?" | astromill chat MODEL',
        )
    try:
        ask = talk.ask(question)
        spoken = Spoken()
        with _interruptible() as stopped:
            for item in talk.voice.speak(ask, stopped):
                spoken.take(item)
                if isinstance(item, Part) and item.kind == "answer":
                    sys.stdout.write(item.text)
                    sys.stdout.flush()
    except BadTurnsError as error:
        raise UsageError(
            str(error), where="standard input", remedy="ask something shorter, or other words"
        ) from error
    if spoken.answer and not spoken.answer.endswith("\n"):
        sys.stdout.write("\n")
        sys.stdout.flush()
    if spoken.end and spoken.end.finish_reason == "interrupted":
        raise KeyboardInterrupt
    if not spoken.answer.strip():
        raise EngineError(
            "the model gave no answer"
            + (": it did not end its reasoning" if spoken.reasoning else ""),
            where=talk.voice.label,
            remedy="give it more tokens: --max-tokens; or ask without --think",
        )
    if spoken.end and spoken.end.finish_reason == "length":
        console.print("note: cut off; the answer's tokens are used up (--max-tokens)")


class ChatLoop:
    """Reads lines, answers them, and obeys commands that begin with ``/``.

    Args:
        talk: with the model.
        console: of the terminal.
        read: returns a line for a prompt, as :func:`input` does.
    """

    def __init__(self, talk: Talk, console: Console, read: Callable[[str], str] = input) -> None:
        self._talk, self._console, self._read = talk, console, read
        self._commands: dict[str, Callable[[str], None]] = {
            "/think": lambda rest: self._switch(True),
            "/nothink": lambda rest: self._switch(False),
            "/hide": lambda rest: self._hide(True),
            "/show": lambda rest: self._hide(False),
            "/system": self._system,
            "/reset": lambda rest: self._reset(),
            "/save": self._save,
            "/help": lambda rest: self._say(HELP),
        }

    def run(self) -> None:
        """Talks until /quit or Ctrl-D."""
        going = True
        while going:
            try:
                going = self._turn()
            except KeyboardInterrupt:
                # Between an answer and the prompt there is nothing to stop, and no reason to end.
                self._console.print()

    def _turn(self) -> bool:
        """Obeys or answers one line; returns whether another one follows."""
        line = self._line()
        if line is None:
            self._console.print()
            return False
        text = line.strip()
        if text in ("/quit", "/exit"):
            return False
        if text.startswith("/") and not text.startswith("//"):
            self._obey(text)
        elif text:
            self._answer(text.removeprefix("/") if text.startswith("//") else text)
        return True

    def _line(self) -> str | None:
        lines: list[str] = []
        while True:
            try:
                line = self._read("... " if lines else ">>> ")
            except EOFError:
                return "\n".join(lines) or None
            except KeyboardInterrupt:
                self._console.print()
                self._say("Ctrl-D or /quit ends")
                lines.clear()
                continue
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    def _obey(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        command = self._commands.get(name)
        if command is None:
            self._say(f"there is no command {name}: /help lists them")
        else:
            command(rest.strip())

    def _say(self, text: str) -> None:
        self._console.print(text, style="cyan", markup=False, highlight=False)

    def _switch(self, thinking: bool) -> None:
        self._talk.conversation.thinking = thinking
        self._say("answers reason first" if thinking else "answers come at once")

    def _hide(self, hidden: bool) -> None:
        self._talk.reasoning_hidden = hidden
        self._say("reasoning is hidden" if hidden else "reasoning is shown")

    def _system(self, text: str) -> None:
        conversation = self._talk.conversation
        if not text:
            self._say(conversation.system or "there is no system prompt")
            return
        conversation.system = None if text == "-" else text
        self._say("the system prompt is set" if text != "-" else "the system prompt is removed")

    def _reset(self) -> None:
        self._talk.conversation.reset()
        self._say("the conversation is forgotten")

    def _save(self, name: str) -> None:
        conversation = self._talk.conversation
        try:
            path = Path(name).expanduser()
            if not name or path.exists():
                self._say(f"{path} is there already" if name else "write /save FILE")
                return
            write_json(path, {"model": self._talk.voice.label, **conversation.to_json()})
        # A user that is not there is a RuntimeError, a null character a ValueError.
        except (OSError, RuntimeError, ValueError) as error:
            self._say(f"cannot write {name}: {getattr(error, 'strerror', None) or error}")
        else:
            self._say(f"{counted(len(conversation.turns), 'turn')}: {path}")

    def _answer(self, question: str) -> None:
        talk = self._talk
        spoken = Spoken()
        show = Display(self._console, talk.voice, talk.reasoning_hidden)
        try:
            ask = talk.ask(question)
            if talk.dropped:
                self._say(
                    f"the context of {talk.voice.window:,} tokens is full: the oldest "
                    f"{talk.dropped} of {len(talk.conversation.turns)} turns are left out"
                )
            with _interruptible() as stopped, show:
                for item in talk.voice.speak(ask, stopped):
                    spoken.take(item)
                    show.take(item, spoken)
        except BadTurnsError as error:
            self._say(f"{error}. /reset forgets the conversation")
            return
        except AstromillError as error:
            # The program goes on: a server may come back.
            self._say(f"{error.what} [{error.where}]: {error.remedy}")
            return
        except KeyboardInterrupt:
            self._console.print()
        self._end(question, spoken)

    def _end(self, question: str, spoken: Spoken) -> None:
        reason = spoken.end.finish_reason if spoken.end else "interrupted"
        if reason == "interrupted":
            self._say("stopped")
        elif reason == "length":
            self._say("cut off: the answer's tokens are used up (--max-tokens), or the context is")
        if not self._talk.keep(question, spoken):
            self._say("there was no answer; this turn is not kept")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yields an event that the first Ctrl-C sets; the second one raises KeyboardInterrupt."""
    stopped = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def prepare_terminal() -> None:
    """Makes standard streams forgiving, and lines editable where the platform can."""
    for stream in (sys.stdin, sys.stdout):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # Bytes that are no UTF-8 must not end the program.
            reconfigure(encoding="utf-8", errors="replace")
    try:
        import readline
    except ImportError:
        return
    readline.parse_and_bind("set enable-bracketed-paste on")


def close_broken_pipe() -> None:
    """Keeps Python from complaining when the reader of standard output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
