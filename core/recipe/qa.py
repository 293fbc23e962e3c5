"""Recipe section ``synth.qa``: questions and answers written from the corpus."""

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
