"""Recipe section ``synth``: questions and answers, instruction sets, chat rendering."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section
from core.recipe.engine import Engine


class Qa(Section):
    """Questions and answers written from the corpus by a language model."""

    engine: Engine
    chunk_chars: int = Field(4000, ge=200)
    """Passage length at most, cut at paragraph bounds."""
    pairs_per_chunk: int = Field(8, ge=1)
    """Pairs asked for per passage."""
    max_answer_chars: int = Field(2000, ge=1)
    """Longer answers are rejected."""
    workers: int = Field(1, ge=1)
    """Generating actors; results do not depend on it."""


class Chat(Section):
    """Rendering under the Llama-3.1 chat template."""

    sequence_length: int = Field(8192, ge=32)
    """Tokens per packed sequence."""
    system_prompt: str | None = None
    date_string: str = "26 Jul 2024"
    """The stock template writes a date into every system turn: pinned, or two runs differ."""


class Instruct(Section):
    """General instruction conversations from files."""

    paths: list[str] = Field(min_length=1)
    """JSON-lines files with ``messages: [{role, content}, ...]`` per line."""


class Synth(Section):
    """From documents to training conversations."""

    qa: Qa
    chat: Chat = Chat()
    instruct: Instruct | None = None
