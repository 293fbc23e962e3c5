"""The template with the switch says what the training data said."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from core.chat import BOS, lay_out, with_switch
from core.recipe.chat import Chat, Reasoning
from merge.thinking import THINK, chat_template

QUESTION = {"role": "user", "content": "Why is the sky dark? 🎉"}
ANSWER = {"role": "assistant", "content": "It is finite."}
SYSTEMS = (
    None,
    "",
    "You are an astronomer.",
    "detailed thinking on",
    "detailed thinking off\n\nBe brief.",
)


def rendered(chat: Chat, messages: list[dict[str, str]], **values: Any) -> str:
    texts, _ = render_jinja_template(
        [messages], chat_template=chat_template(chat), bos_token=BOS, **values
    )
    return str(texts[0])


def conversations() -> list[list[dict[str, str]]]:
    turns = ([QUESTION], [QUESTION, ANSWER, QUESTION])
    return [
        ([] if system is None else [{"role": "system", "content": system}]) + turn
        for system, turn in itertools.product(SYSTEMS, turns)
    ]


@pytest.mark.parametrize("off", [None, "detailed thinking off"])
@pytest.mark.parametrize("thinking", [True, False])
def test_it_renders_as_the_training_data(off: str | None, thinking: bool) -> None:
    reasoning = Reasoning(off=off)
    chat = Chat(reasoning=reasoning, date_string="1 Jan 2026")
    for messages in conversations():
        turns = with_switch(messages, thinking, None, reasoning)
        expected, _ = lay_out(turns, "1 Jan 2026", add_generation_prompt=True)
        found = rendered(chat, messages, add_generation_prompt=True, enable_thinking=thinking)
        assert found == expected + (THINK if thinking else "")


@pytest.mark.parametrize("reasoning", [None, Reasoning()])
def test_who_says_nothing_gets_what_the_plain_template_gives(reasoning: Reasoning | None) -> None:
    chat = Chat(reasoning=reasoning)
    for messages, prompt in itertools.product(conversations(), (True, False)):
        expected, _ = lay_out(messages, add_generation_prompt=prompt)
        assert rendered(chat, messages, add_generation_prompt=prompt) == expected


def test_without_switches_the_word_has_no_effect() -> None:
    chat = Chat(reasoning=None)
    assert "thinking" not in chat_template(chat)


def test_a_switch_in_any_words() -> None:
    odd = Reasoning(on='say "OFF" {{ x }} \\n 🎉', off="@on {% é")
    for thinking in (True, False):
        turns = with_switch([QUESTION], thinking, None, odd)
        found = rendered(Chat(reasoning=odd), [QUESTION], enable_thinking=thinking)
        assert found == lay_out(turns)[0]
