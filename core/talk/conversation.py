"""A conversation of many turns that fits into the model's context.

What a model reasoned never enters the next turn's context: models that reason are trained on
conversations whose earlier answers stand without it, and it would fill the context. When the
context is full, the oldest turns go, a question together with its answer; the system prompt stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.chat import BadTurnsError, check_turns, with_switch
from core.recipe.chat import Reasoning

Messages = list[dict[str, str]]
Count = Callable[[Messages], int | None]


@dataclass(frozen=True)
class Turn:
    """A question with its answer; what was reasoned is kept for the reader alone."""

    question: str
    answer: str
    reasoning: str = ""


@dataclass(frozen=True)
class Fitted:
    """What is sent to the model.

    Args:
        messages: chat turns, the last one the user's.
        dropped: turns left out, oldest first, for lack of room.
        prompt_tokens: of the messages, where they can be counted.
    """

    messages: Messages
    dropped: int
    prompt_tokens: int | None


@dataclass
class Conversation:
    """Turns so far.

    Args:
        system: prompt of the user's own; the thinking switch is put in front of it.
        thinking: whether answers shall reason.
        switches: the sentences that switch it.
    """

    system: str | None = None
    thinking: bool = False
    switches: Reasoning = field(default_factory=Reasoning)
    turns: list[Turn] = field(default_factory=list)

    def fit(self, question: str, count: Count, window: int | None, reserve: int) -> Fitted:
        """Returns a question with as many of the turns before it as there is room for.

        Args:
            question: of the user.
            count: returns the tokens of messages; None where they cannot be counted.
            window: tokens of the context; None: not known, nothing is left out.
            reserve: tokens to be left for the answer.

        Raises:
            BadTurnsError: the question is empty or holds a control token, or it does not fit even
                alone.
        """
        check_turns([{"role": "user", "content": question}])
        dropped = 0
        while True:
            messages = self.messages(question, dropped)
            tokens = count(messages)
            if tokens is None or window is None or tokens + reserve <= window:
                return Fitted(messages, dropped, tokens)
            if dropped == len(self.turns):
                break
            dropped += 1
        # Room for a shorter answer is better than none.
        if tokens < window:
            return Fitted(messages, dropped, tokens)
        raise BadTurnsError(
            f"the question with its system prompt has {tokens:,} tokens; the model's context holds "
            f"{window:,}"
        )

    def messages(self, question: str, dropped: int = 0) -> Messages:
        """Returns the chat turns that end with a question.

        Args:
            question: of the user.
            dropped: oldest turns left out.
        """
        said: Messages = []
        if self.system and self.system.strip():
            said.append({"role": "system", "content": self.system})
        for turn in self.turns[dropped:]:
            said.append({"role": "user", "content": turn.question})
            said.append({"role": "assistant", "content": turn.answer})
        said.append({"role": "user", "content": question})
        return [dict(m) for m in with_switch(said, self.thinking, None, self.switches)]

    def add(self, question: str, answer: str, reasoning: str = "") -> bool:
        """Keeps a turn; False where the answer is empty, which no chat template allows."""
        if not answer.strip():
            return False
        try:
            check_turns([{"role": "user", "content": question}])
            check_turns(
                [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
            )
        except BadTurnsError:
            return False
        self.turns.append(Turn(question, answer.strip(), reasoning.strip()))
        return True

    def reset(self) -> None:
        """Forgets all turns; system prompt and switch stay."""
        self.turns.clear()

    def to_json(self) -> dict[str, Any]:
        """Returns the conversation as JSON values: our format of instruction sets, and reasoning.

        ``messages`` can be read by ``synth.instruct`` as it is.
        """
        messages: Messages = []
        if self.system and self.system.strip():
            messages.append({"role": "system", "content": self.system})
        for turn in self.turns:
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
        return {
            "messages": messages,
            "reasoning": [turn.reasoning for turn in self.turns],
            "thinking": self.thinking,
        }
