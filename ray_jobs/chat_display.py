"""An answer on the terminal, as it comes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.status import Status

from core.talk.reasoning import Part
from core.talk.voice import End, Voice


@dataclass
class Spoken:
    """An answer so far."""

    reasoning: str = ""
    answer: str = ""
    end: End | None = None
    reasoning_seconds: float | None = None
    started: float = field(default_factory=time.monotonic)

    def take(self, item: Part | End) -> None:
        """Adds a part."""
        if isinstance(item, End):
            self.end = item
        elif item.kind == "reasoning":
            self.reasoning += item.text
            self.reasoning_seconds = time.monotonic() - self.started
        else:
            if not self.answer and self.reasoning_seconds is not None:
                self.reasoning_seconds = time.monotonic() - self.started
            self.answer += item.text


class Display:
    """Shows an answer as it comes; what was reasoned dim, or as one line of how long it took."""

    def __init__(self, console: Console, voice: Voice, hidden: bool) -> None:
        self._console, self._voice, self._hidden = console, voice, hidden
        self._status: Status | None = None
        self._kind: str | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop_status()
        if self._kind is not None:
            self._console.print()

    def take(self, item: Part | End, spoken: Spoken) -> None:
        """Shows a part."""
        if isinstance(item, End):
            if self._kind == "reasoning":
                self._reasoned(spoken)
            return
        if item.kind == "reasoning":
            if self._hidden:
                if self._status is None:
                    self._status = self._console.status("thinking")
                    self._status.start()
            else:
                self._write(item.text, "dim")
        else:
            if self._kind == "reasoning":
                self._reasoned(spoken)
            self._write(item.text, None)
        self._kind = item.kind

    def _reasoned(self, spoken: Spoken) -> None:
        self._stop_status()
        if not self._hidden:
            self._console.print("\n")
            return
        tokens = self._voice.tokens(spoken.reasoning) if spoken.reasoning else None
        counted = f", {tokens:,} tokens" if tokens is not None else ""
        self._console.print(
            f"thought for {spoken.reasoning_seconds or 0:.1f} s{counted}",
            style="dim",
            highlight=False,
        )

    def _stop_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _write(self, text: str, style: str | None) -> None:
        self._console.print(
            printable(text), end="", style=style, markup=False, highlight=False, soft_wrap=True
        )


def printable(text: str) -> str:
    """Returns a text without control characters: a model must not steer the terminal."""
    return "".join(c for c in text if c in "\n\t" or not (c < " " or "\x7f" <= c <= "\x9f"))
