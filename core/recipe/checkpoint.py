"""Recipe section ``checkpoint`` of a training run: when its state is saved, what is kept."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section


class Checkpoint(Section):
    """Saved states that a stopped run goes on from."""

    every_steps: int = Field(0, ge=0)
    """Optimizer steps between two checkpoints; 0: none but that of a stop."""
