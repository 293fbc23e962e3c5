"""Recipe section ``evaluate`` of a training run: held-out text to measure it on as it goes."""

from __future__ import annotations

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.eval import HeldoutSet


class Evaluate(Section):
    """Loss on text that is not trained on: in the field, and general, to see what is forgotten."""

    every_steps: int = Field(ge=1)
    """Steps between two evaluations; there is one before the first step and one after the last,
    too. One takes as long as a third of the steps that hold as many tokens: it has no backward
    pass."""
    sets: list[HeldoutSet] = Field(min_length=1)
    """Texts, as in ``eval.heldout``; a curve each."""
    max_tokens: int = Field(1_000_000, ge=1)
    """Of a set: documents are taken in the order of their paths until there are so many. A token's
    loss scatters by about 2.5 nats, so a million give the mean to 0.0025."""

    @model_validator(mode="after")
    def _unique(self) -> Evaluate:
        names = [found.name for found in self.sets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"'{name}' is the name of two entries of sets")
        return self
