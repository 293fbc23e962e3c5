"""Recipe sections ``synth.summaries`` and ``synth.metadata``."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section
from core.recipe.engine import Engine


class Summaries(Section):
    """A summary of every document, written by a language model."""

    engine: Engine
    workers: int = Field(1, ge=1)
    """Summarizing actors; results do not depend on it."""


class Metadata(Section):
    """Questions about titles, dates, identifiers and first authors, made by rules."""
