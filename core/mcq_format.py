"""Multiple-choice questions as text: what a model is asked, and the answer it is to write.

Here and not with the benchmark, because the control experiment of AstroMLab 3 (section IV) trains
on other questions "using identical output formatting".
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from typing import Any

_REASON_CHARACTERS = 600
"""Most characters of the reason in a JSON answer: a few sentences, about 150 tokens."""


def listed(choices: Sequence[str]) -> str:
    """Returns the choices one a line behind their letters: ``A. first``."""
    return "\n".join(
        f"{mark}. {text}" for mark, text in zip(string.ascii_uppercase, choices, strict=False)
    )


def json_prompt(question: str, choices: Sequence[str]) -> str:
    """Returns a user turn that asks for a letter in a JSON object."""
    marks = ", ".join(string.ascii_uppercase[: len(choices)])
    return (
        f"Answer this multiple-choice question. Exactly one choice is right.\n\n"
        f"{question}\n{listed(choices)}\n\n"
        f'Reply with one JSON object and nothing else: {{"reasoning": "why, in one or two '
        f'sentences", "answer": "the letter of your choice, one of {marks}"}}'
    )


def json_answer(choice: int, reasoning: str) -> str:
    """Returns the answer that :func:`json_prompt` asks for; ``choice`` counts from 0."""
    content = {"reasoning": reasoning, "answer": string.ascii_uppercase[choice]}
    return json.dumps(content, ensure_ascii=False)


def json_answer_schema(choices: int) -> dict[str, Any]:
    """Returns the JSON Schema of :func:`json_answer` for so many choices.

    The reason comes first, so that the letter is written after it.
    """
    return {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "maxLength": _REASON_CHARACTERS},
            "answer": {"type": "string", "enum": list(string.ascii_uppercase[:choices])},
        },
        "required": ["reasoning", "answer"],
        "additionalProperties": False,
    }


def reasoning_prompt(question: str, choices: Sequence[str]) -> str:
    """Returns a user turn for a model that thinks first, in whatever form it does."""
    return (
        f"{question}\n{listed(choices)}\n\n"
        "Exactly one choice is right. After thinking, finish with the sentence "
        '"The answer is (X).", where X is the letter of your choice.'
    )


__all__ = ["json_answer", "json_answer_schema", "json_prompt", "listed", "reasoning_prompt"]
