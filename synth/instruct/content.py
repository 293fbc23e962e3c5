"""What a turn says: a text, or a list of parts of which some are not text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.rejects import Reason
from synth.instruct.records import RecordError

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
"""Around reasoning, as Llama-Nemotron's answers and AstroSage-70B's (AstroMLab 4, section 3)."""

_TOOL_PARTS = ("tool_call", "tool_calls", "function_call", "tool_use", "tool_result")


def content_text(content: Any, place: str) -> str:
    """Returns a turn's content as one text.

    Parts of a list stand in lines of their own, as the blocks that they are in a chat window;
    reasoning goes between ``<think>`` tags in front of what it leads to.

    Args:
        content: a string, or parts ``{type, text}`` or ``{type, value}``; None is empty.
        place: how the error names the turn.

    Raises:
        RecordError: a part calls a tool, or is not text (an image, a sound).
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise RecordError(Reason.MALFORMED_RECORD, f"{place}: the content is not text")
    return "\n".join(_part(part, place) for part in content)


def _part(part: Any, place: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise RecordError(Reason.MALFORMED_RECORD, f"{place}: a part of the content is not text")
    kind = part.get("type", "text")
    text = next((part[key] for key in ("text", "value", "content") if part.get(key)), "")
    if kind in _TOOL_PARTS:
        raise RecordError(Reason.TOOL_USE, f"{place}: a part of type {kind}")
    if not isinstance(text, str) or kind not in ("text", "reasoning", "thinking"):
        raise RecordError(Reason.MALFORMED_RECORD, f"{place}: a part of type {kind!r:.40}")
    return text if kind == "text" else thought(text)


def thought(text: str) -> str:
    """Returns reasoning between its tags; nothing where there is none."""
    return f"{THINK_OPEN}\n{text.strip()}\n{THINK_CLOSE}\n" if text.strip() else ""


def thinks(answer: str) -> bool:
    """Returns whether an answer reasons between tags; an empty pair of tags is no reasoning.

    A chat template that cuts earlier reasoning leaves an empty pair behind.
    """
    start = answer.find(THINK_OPEN)
    if start < 0:
        return False
    end = answer.find(THINK_CLOSE, start)
    inside = answer[start + len(THINK_OPEN) : end if end >= 0 else len(answer)]
    return bool(inside.strip())
