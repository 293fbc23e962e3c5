"""The chat template that goes along with a merged model: ours, with a switch for reasoning.

AstroMLab 4, section 3: reasoning is switched on by "setting the system prompt to detailed thinking
on and prefilling the assistant completion with <think>". With this template a caller says
``enable_thinking=True``, in transformers as an argument of ``apply_chat_template``, at a vLLM
server as ``chat_template_kwargs``, and gets both. Whoever says nothing gets the text that the
template gives without the switch, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from core.chat import CHAT_TEMPLATE, DEFAULT_DATE_STRING
from core.recipe.chat import Chat

THINK = "<think>\n"
"""What the answer begins with where it is to reason."""

_SYSTEM = '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}\n'
_PROMPT = '{{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}\n'

_SWITCH = """\
{%- if enable_thinking is defined %}
    {%- set switch = @on if enable_thinking else @off %}
    {%- set off = @off and system_message.startswith(@off) %}
    {%- if switch and not off and not system_message.startswith(@on) %}
        {%- set system_message = (switch + "\\n\\n" + system_message) | trim %}
    {%- endif %}
{%- endif %}
"""

_PREFILL = """\
    {%- if enable_thinking is defined and enable_thinking %}
        {{- @think }}
    {%- endif %}
"""


def chat_template(chat: Chat) -> str:
    """Returns the Jinja template of the chat text that a recipe trains on.

    Args:
        chat: the recipe's section: its date, and its switches for reasoning if it has any.
    """
    template = _replaced(CHAT_TEMPLATE, f'"{DEFAULT_DATE_STRING}"', _text(chat.date_string))
    if chat.reasoning is None:
        return template
    words = {"@on": chat.reasoning.on, "@off": chat.reasoning.off or "", "@think": THINK}
    template = _replaced(template, _SYSTEM, _filled(_SWITCH, words) + _SYSTEM)
    return _replaced(template, _PROMPT, _PROMPT + _filled(_PREFILL, words))


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub("@[a-z]+", lambda found: _text(words[found[0]]), text)


def _text(value: str) -> str:
    # Jinja reads JSON's escapes as Python's, which they are but for halves of a surrogate pair.
    return json.dumps(value, ensure_ascii=False)


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise ValueError(f"the chat template has changed: it has no {old!r}")
    return text.replace(old, new)
