"""Conversations as Llama-3.1 chat text, and which of its tokens are trained.

Why our own template: the stock Llama-3.1-Instruct template has no ``{% generation %}`` blocks, so
its assistant mask is all zeros, and it writes a date into every system turn. Ours renders system,
user and assistant turns byte for byte like the stock one, marks what is trained, and pins the date.
It goes along with every model that we save.

Our own stages do not run it but write the same text directly, which takes 3 instead of 22
microseconds and knows where each turn lies; a test holds both against texts of the stock template.

::

    <|begin_of_text|><|start_header_id|>system<|end_header_id|>

    Cutting Knowledge Date: December 2023
    Today Date: 26 Jul 2024

    {system}<|eot_id|><|start_header_id|>user<|end_header_id|>

    {user}<|eot_id|><|start_header_id|>assistant<|end_header_id|>

    {assistant}<|eot_id|>
    ^^^^^^^^^^^^^^^^^^^^^ trained

Training on the assistant's turns only: AstroMLab 4, section 2.2 ("a loss mask was applied to train
the model exclusively on assistant completions").
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import InputError
from core.recipe.chat import Reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_DATE_STRING = "26 Jul 2024"
"""The stock template's own default."""

BOS = "<|begin_of_text|>"
_END = "<|eot_id|>"
_TOKENS = (BOS, "<|start_header_id|>", "<|end_header_id|>", _END)
_KNOWLEDGE = "Cutting Knowledge Date: December 2023"

CHAT_TEMPLATE = r"""{{- bos_token }}
{%- if date_string is not defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {{- "<|start_header_id|>" + message["role"] + "<|end_header_id|>\n\n" }}
    {%- if message["role"] == "assistant" %}
        {%- generation %}
            {{- message["content"] | trim + "<|eot_id|>" }}
        {%- endgeneration %}
    {%- else %}
        {{- message["content"] | trim + "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|start_header_id|>assistant<|end_header_id|>\n\n" }}
{%- endif %}
"""

# A fast tokenizer reads these words as control tokens wherever they stand, so a user turn that
# holds "<|eot_id|>" would end itself and could speak as the assistant. All Llama-3.1 control
# tokens, the 240 reserved ones included, have this shape; so do those of other chat formats, which
# in our data are the debris of a badly converted conversation.
_CONTROL_TOKEN = re.compile(r"<\|\w+\|>")


class BadTurnsError(ValueError):
    """A conversation that cannot be rendered; the message says why."""


class Stretch(NamedTuple):
    """A turn's content in a chat text: characters, ``end`` exclusive and after ``<|eot_id|>``."""

    role: str
    start: int
    end: int


def check_turns(messages: Sequence[Mapping[str, str]]) -> None:
    """Checks that a conversation is ``[system] user assistant user ...`` with sane contents.

    An empty system turn is allowed: the template renders it like an absent one.

    Args:
        messages: turns, ``{"role": ..., "content": ...}``.

    Raises:
        BadTurnsError: an unknown role, turns out of order, an empty or non-text content, or a
            control token such as ``<|eot_id|>`` inside a content.
    """
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant"):
            raise BadTurnsError(f"turn {number}: unknown role {role!r}")
        if not isinstance(content, str):
            raise BadTurnsError(f"turn {number}: the content is not text")
        if not content.strip() and role != "system":
            raise BadTurnsError(f"turn {number}: empty {role} content")
        if control := _CONTROL_TOKEN.search(content):
            raise BadTurnsError(f"turn {number}: control token {control.group()} in the content")
    start = 1 if messages and messages[0]["role"] == "system" else 0
    for number, message in enumerate(messages[start:], start):
        expected = "assistant" if (number - start) % 2 else "user"
        if message["role"] != expected:
            raise BadTurnsError(f"turn {number}: {message['role']} where {expected} should speak")
    if len(messages) == start:
        raise BadTurnsError("no user turn")


def with_switch(
    messages: Sequence[Mapping[str, str]],
    reasoning: bool | None,
    dataset: str | None,
    section: Reasoning | None,
) -> list[Mapping[str, str]]:
    """Returns a conversation with the system prompt that switches reasoning on or off.

    AstroSage-70B reasons where the system prompt is "detailed thinking on" (AstroMLab 4, section
    3), as the Llama-Nemotron set that it learned from says. The switch comes first, another system
    prompt after a blank line. A system prompt that begins with a switch already stays as it is.

    Args:
        messages: turns.
        reasoning: whether the answers reason.
        dataset: the set that it is of.
        section: the recipe's; None: nothing is added.
    """
    turns = list(messages)
    prompt = section.prompt(bool(reasoning), dataset) if section else None
    if section is None or not prompt:
        return turns
    system = turns.pop(0)["content"] if turns and turns[0]["role"] == "system" else ""
    if not isinstance(system, str):  # check_turns says what is wrong
        return list(messages)
    said = system.strip()
    if not said.startswith(tuple(filter(None, (section.on, section.off)))):
        system = f"{prompt}\n\n{said}" if said else prompt
    return [{"role": "system", "content": system}, *turns]


def rendered_turns(row: Mapping[str, Any], config: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Returns a conversation's turns as a chat-tokens stage rendered them.

    Where the stage cut turns, its tokens are the first ones of these.

    Args:
        row: of :data:`core.schema.CONVERSATION`.
        config: of the stage, from its manifest.
    """
    said = config.get("reasoning")
    section = Reasoning.model_validate(said) if said else None
    return with_switch(row["messages"], row.get("reasoning"), row.get("dataset"), section)


def lay_out(
    messages: Sequence[Mapping[str, str]],
    date_string: str = DEFAULT_DATE_STRING,
    add_generation_prompt: bool = False,
) -> tuple[str, list[Stretch]]:
    """Returns a conversation as chat text, and where in it each turn's content lies.

    Nothing is checked: see :func:`render_text` for what may go to a model.

    Args:
        messages: turns, ``{"role": ..., "content": ...}``.
        date_string: the date in the system turn.
        add_generation_prompt: end with the header of the assistant turn to be written.

    Returns:
        The text, and one stretch per message: its content without white space around it, and the
        ``<|eot_id|>`` behind it. The first one, of a system turn, begins after the dates.
    """
    turns = list(messages)
    system = turns.pop(0)["content"].strip() if turns and turns[0]["role"] == "system" else None
    head = BOS + _header("system") + f"{_KNOWLEDGE}\nToday Date: {date_string}\n\n"
    parts = [head, system or "", _END]
    stretches: list[Stretch] = []
    at = len(head) + len(parts[1]) + len(_END)
    if system is not None:
        stretches.append(Stretch("system", len(head), at))
    for turn in turns:
        header, said = _header(turn["role"]), turn["content"].strip() + _END
        parts += header, said
        start = at + len(header)
        at = start + len(said)
        stretches.append(Stretch(turn["role"], start, at))
    if add_generation_prompt:
        parts.append(_header("assistant"))
    return "".join(parts), stretches


def _header(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def check_complete(messages: Sequence[Mapping[str, str]], answered: bool = True) -> None:
    """Checks a conversation's turns, and that the right side has the last word.

    Raises:
        BadTurnsError: see :func:`check_turns`; or it does not end with an answer (or, where
            ``answered`` is False, with a question).
    """
    check_turns(messages)
    last = messages[-1]["role"]
    if answered and last != "assistant":
        raise BadTurnsError(f"the last turn is of the {last}: an answer is missing")
    if not answered and last != "user":
        raise BadTurnsError(f"the last turn is of the {last}: there is nothing to answer")


def render_text(
    messages: Sequence[Mapping[str, str]],
    date_string: str = DEFAULT_DATE_STRING,
    add_generation_prompt: bool = False,
) -> str:
    """Returns a conversation as chat text, starting with the beginning-of-text token.

    Args:
        messages: turns, ``{"role": ..., "content": ...}``.
        date_string: the date in the system turn.
        add_generation_prompt: end with the header of the assistant turn to be written; the
            conversation must then end with a user turn. Otherwise it must end with an answer.

    Raises:
        BadTurnsError: see :func:`check_turns`; or the wrong side has the last word.
    """
    check_complete(messages, answered=not add_generation_prompt)
    return lay_out(messages, date_string, add_generation_prompt)[0]


def require_chat_tokens(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Checks that each control token of the template is one token.

    Args:
        tokenizer: of the model that is to be trained.
        where: for the error: the model.

    Raises:
        InputError: they would be spelt out as plain text, which no chat program reads as turns.
    """
    missing = [t for t in _TOKENS if len(tokenizer.encode(t, add_special_tokens=False)) != 1]
    if missing:
        raise InputError(
            f"the tokenizer has no {', '.join(missing)}: it is not that of a Llama 3",
            where=where,
            remedy="start from a Llama 3 or 3.1 model: conversations are written in its chat form",
        )


@dataclass(frozen=True)
class RenderedTokens:
    """A conversation's tokens.

    Args:
        input_ids: the tokens, one beginning-of-text token in front.
        loss_mask: of equal length: 1 exactly on the assistant's contents and the ``<|eot_id|>``
            after each.
        answer_ends: how many tokens there are up to the end of each answer.
    """

    input_ids: list[int]
    loss_mask: list[int]
    answer_ends: list[int]


def render_batch(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Mapping[str, str]]],
    date_string: str = DEFAULT_DATE_STRING,
) -> list[RenderedTokens]:
    """Returns conversations as tokens and which of them are trained; all in one tokenizer call.

    Our template is used whatever template the tokenizer carries.

    Args:
        tokenizer: a Llama-3 tokenizer (fast: offsets are needed).
        conversations: turns of each, ``{"role": ..., "content": ...}``, ending with an answer.
        date_string: the date in the system turn.

    Raises:
        BadTurnsError: see :func:`check_turns`, which is to be called first where one bad
            conversation must not cost the others.
    """
    for messages in conversations:
        check_complete(messages)
    laid = [lay_out(messages, date_string) for messages in conversations]
    if not laid:
        return []
    # The rendered text already starts with the beginning-of-text token.
    encoded = tokenizer(
        [text for text, _ in laid],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    return [
        _masked(ids, offsets, [s for s in stretches if s.role == "assistant"])
        for ids, offsets, (_, stretches) in zip(
            encoded["input_ids"], encoded["offset_mapping"], laid, strict=True
        )
    ]


def _masked(
    ids: list[int], offsets: list[tuple[int, int]], answers: list[Stretch]
) -> RenderedTokens:
    # A content starts after "\n\n" and ends before a control token, where no token reaches across.
    starts = [start for start, _ in offsets]
    mask = [0] * len(ids)
    ends: list[int] = []
    for answer in answers:
        first, end = bisect_left(starts, answer.start), bisect_left(starts, answer.end)
        mask[first:end] = [1] * (end - first)
        ends.append(end)
    return RenderedTokens(ids, mask, ends)


def render_tokens(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    date_string: str = DEFAULT_DATE_STRING,
) -> tuple[list[int], list[int]]:
    """Returns one conversation's ``(input_ids, loss_mask)``: see :func:`render_batch`.

    Raises:
        BadTurnsError: see :func:`check_turns`.
    """
    (rendered,) = render_batch(tokenizer, [messages], date_string)
    return rendered.input_ids, rendered.loss_mask
