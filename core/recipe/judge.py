"""Recipe section ``synth.judge``: pairs scored by a language model (AstroMLab 3, section III.1)."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section
from core.recipe.engine import Engine


class Judge(Section):
    """Question-answer pairs scored by a language model; those that score well stay."""

    engine: Engine
    workers: int = Field(1, ge=1)
    """Judging actors; results do not depend on it."""
