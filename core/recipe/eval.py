"""Recipe section ``eval``: benchmarks, held-out text, the report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.cleaning import Cleaning
from core.recipe.control import ControlComparison
from core.recipe.general import General
from core.recipe.mcq import Benchmark, Mcq, Name, check_unique
from core.recipe.value import Value


class HeldoutSet(Section):
    """Held-out text for perplexity."""

    name: Name
    """What tables call it."""
    paths: list[str] = Field(min_length=1)
    """Files, folders or glob patterns of Markdown or text."""
    group: Literal["domain", "general"] = "domain"
    """``domain`` or ``general``: tables show the two apart."""


class Eval(Section):
    """What is measured, on which models."""

    models: dict[Name, str] = Field(min_length=1)
    """Name in the tables: train or merge stage, or a model folder; of a served model
    (``mcq.engines``) the server's name for it. The first one is the start that the others are
    compared with."""
    mcq: Mcq
    heldout: list[HeldoutSet] = Field(default_factory=list)
    """Text that is not trained on, to measure perplexity."""
    general: General | None = None
    """General benchmarks through lm-eval; absent: none."""
    control: ControlComparison | None = None
    """What the control experiment compares; absent: nothing."""
    value: Value | None = None
    """Score against cost, beside published models; absent: not placed."""
    cleaning: Cleaning | None = None
    """A language model takes questions out that need one paper; absent: none."""

    @model_validator(mode="after")
    def _unique(self) -> Eval:
        check_unique([s.name for s in self.heldout], "heldout")
        self.mcq.check_models(list(self.models))
        if self.value is not None:
            self.value.check_names(self.models, [b.name for b in self.mcq.benchmarks])
        return self

    def local_models(self) -> dict[str, str]:
        """Returns the models that are files here: held-out text is measured with these."""
        return {
            name: reference
            for name, reference in self.models.items()
            if self.mcq.engine_of(name).kind != "openai"
        }


__all__ = ["Benchmark", "Eval", "HeldoutSet", "Mcq", "Name"]
