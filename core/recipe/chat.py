"""Recipe section ``synth.chat``: conversations as training tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.recipe.base import Section


class Reasoning(Section):
    """The system prompts that switch reasoning, for each conversation by itself.

    AstroMLab 4, section 3: the model reasons where the system prompt is "detailed thinking on".
    That sentence is Llama-Nemotron's, whose records without reasoning say "detailed thinking off".
    """

    on: str = Field("detailed thinking on", min_length=1)
    """Before any other system prompt of a conversation whose answers reason."""
    off: str | None = Field(None, min_length=1)
    """The same where they do not: "detailed thinking off". Absent by default: a user who gives no
    system prompt then gets a plain answer, which is what such conversations train."""
    off_sets: list[str] | None = None
    """Sets (the column ``dataset``) whose conversations get ``off``; absent: all."""

    def prompt(self, reasoning: bool, dataset: str | None) -> str | None:
        """Returns the switch for a conversation of a set."""
        if reasoning:
            return self.on
        return self.off if self.off_sets is None or dataset in self.off_sets else None


class Chat(Section):
    """Rendering under the Llama-3.1 chat template."""

    sequence_length: int = Field(8192, ge=32)
    """Tokens per packed sequence."""
    system_prompt: str | None = None
    """Of the conversations made from question-answer pairs."""
    date_string: str = "26 Jul 2024"
    """The stock template writes a date into every system turn: pinned, or two runs differ."""
    reasoning: Reasoning | None = Reasoning()
    """Switches; null: none are written."""
    too_long: Literal["reject", "cut_turns"] = "reject"
    """A conversation longer than a sequence: a reject, or cut after the last answer that fits
    (rejected only where the first does not). An answer is never cut in the middle, which would
    teach to stop anywhere. The papers do not say; cutting keeps the beginnings of long chats."""
