"""Recipe section ``synth.chat``: conversations as training tokens."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section


class Chat(Section):
    """Rendering under the Llama-3.1 chat template."""

    sequence_length: int = Field(8192, ge=32)
    """Tokens per packed sequence."""
    system_prompt: str | None = None
    date_string: str = "26 Jul 2024"
    """The stock template writes a date into every system turn: pinned, or two runs differ."""
