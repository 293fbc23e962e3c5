"""Recipe section ``synth.instruct``: instruction sets from files."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section


class Instruct(Section):
    """General instruction conversations from files."""

    paths: list[str] = Field(min_length=1)
    """JSON-lines files with ``messages: [{role, content}, ...]`` per line."""
