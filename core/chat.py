"""Conversations as Llama-3.1 chat text, and which of its tokens are trained.

Why our own template: the stock Llama-3.1-Instruct template has no ``{% generation %}`` blocks, so
its assistant mask is all zeros, and it writes a date into every system turn. Ours renders system,
user and assistant turns byte for byte like the stock one, marks what is trained, and pins the date.

::

    <|begin_of_text|><|start_header_id|>system<|end_header_id|>

    Cutting Knowledge Date: December 2023
    Today Date: 26 Jul 2024

    {system}<|eot_id|><|start_header_id|>user<|end_header_id|>

    {user}<|eot_id|><|start_header_id|>assistant<|end_header_id|>

    {assistant}<|eot_id|>
    ^^^^^^^^^^^^^^^^^^^^^ trained

Training on the assistant's turns only: AstroMLab 3, section III-B.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_DATE_STRING = "26 Jul 2024"
"""The stock template's own default."""

BOS = "<|begin_of_text|>"

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
    return _render(messages, date_string, add_generation_prompt)[0]


def render_tokens(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    date_string: str = DEFAULT_DATE_STRING,
) -> tuple[list[int], list[int]]:
    """Returns a conversation's tokens and which of them are trained.

    Our template is used whatever template the tokenizer carries.

    Args:
        tokenizer: a Llama-3 tokenizer (fast: offsets are needed).
        messages: turns, ``{"role": ..., "content": ...}``, ending with an answer.
        date_string: the date in the system turn.

    Returns:
        ``(input_ids, loss_mask)`` of equal length, one beginning-of-text token in front;
        ``loss_mask`` is 1 exactly on the assistant's contents and the ``<|eot_id|>`` after each.

    Raises:
        BadTurnsError: see :func:`check_turns`.
    """
    text, trained = _render(messages, date_string, add_generation_prompt=False)
    # The rendered text already starts with the beginning-of-text token.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    input_ids: list[int] = encoded["input_ids"]
    # A content starts after "\n\n" and ends before a control token, where no token reaches across.
    starts = [start for start, _ in encoded["offset_mapping"]]
    loss_mask, spans = [], iter(trained)
    span = next(spans, None)
    for start in starts:
        while span is not None and start >= span[1]:
            span = next(spans, None)
        loss_mask.append(int(span is not None and span[0] <= start))
    return input_ids, loss_mask


def _render(
    messages: Sequence[Mapping[str, str]], date_string: str, add_generation_prompt: bool
) -> tuple[str, list[tuple[int, int]]]:
    """Returns the text and the (start, end) characters of what the assistant says."""
    from transformers.utils.chat_template_utils import render_jinja_template

    check_turns(messages)
    last = messages[-1]["role"]
    if add_generation_prompt and last != "user":
        raise BadTurnsError(f"the last turn is of the {last}: there is nothing to answer")
    if not add_generation_prompt and last != "assistant":
        raise BadTurnsError(f"the last turn is of the {last}: an answer is missing")
    # transformers' renderer: the one that reads generation marks. Its annotation says str.
    rendered: Any = render_jinja_template(
        [[{"role": m["role"], "content": m["content"]} for m in messages]],
        chat_template=CHAT_TEMPLATE,
        return_assistant_tokens_mask=True,
        add_generation_prompt=add_generation_prompt,
        bos_token=BOS,
        date_string=date_string,
    )
    texts, spans = rendered
    return texts[0], list(spans[0])
