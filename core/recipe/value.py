"""Recipe section ``eval.value``: score against cost, beside the models of a published table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from core.recipe.base import Section


class OwnCost(Section):
    """What a model of the run costs; one of the two ways to say it."""

    cost_as: str | None = None
    """Name of a model in the table that costs as much. AstroMLab 4, section 4.2: an AstroSage model
    costs what the Llama 3.1 of its size does, since it has its architecture."""
    usd_per_100k_tokens: Annotated[float, Field(gt=0)] | None = None
    """US dollars for 0.1 million tokens, mean of input and output."""
    label: str | None = None
    """Name in table and figures; default: the model's name in the recipe."""
    released: str | None = None
    """YYYY-MM-DD or YYYY-MM, for the figure over time; without it the model is not drawn there."""

    @model_validator(mode="after")
    def _one(self) -> OwnCost:
        if (self.cost_as is None) == (self.usd_per_100k_tokens is None):
            raise ValueError("give one of cost_as and usd_per_100k_tokens")
        return self

    @field_validator("released")
    @classmethod
    def _date(cls, released: str | None) -> str | None:
        if released is not None and not re.fullmatch(
            r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?", released
        ):
            raise ValueError(f"'{released}' is no date: write YYYY-MM-DD or YYYY-MM, in quotes")
        return released


class Value(Section):
    """Value scores (AstroMLab 4, Equation 1) and Figures 3 and 4, own models among others."""

    scores: list[str] = Field(default_factory=list)
    """CSV files: model, score_percent; family, access (open or proprietary) and, where it was
    published, value. A published value tells the cost that it was computed with. Default: Table 1
    of AstroMLab 4, which comes with astromill."""
    costs: str | None = None
    """CSV file of prices: model, and input_usd_per_1m_tokens with output_usd_per_1m_tokens (their
    mean counts, as in the paper) or usd_per_0.1m_tokens. Models without a published value need one;
    the baseline's turns relative costs into dollars. Default: with Table 1, list prices."""
    dates: str | None = None
    """CSV file of release dates: model, released. Models without one are not drawn over time.
    Default: with Table 1, ours."""
    baseline: str = "GPT-4"
    """The model of value 0."""
    questions: int = Field(3846, ge=1)
    """Questions behind the scores of the table: for their intervals."""
    benchmark: str | None = None
    """The benchmark of ``eval.mcq.benchmarks`` that own models are placed by; default: all of the
    group ``domain``. Values compare only where it is the one of the table, AstroMLab-1."""
    own: dict[str, OwnCost] = Field(default_factory=dict)
    """Models of ``eval.models`` to place, and what they cost."""

    def check_names(self, models: Iterable[str], benchmarks: Iterable[str]) -> None:
        """Refuses names that the section ``eval`` does not have.

        Args:
            models: names of ``eval.models``.
            benchmarks: names of ``eval.mcq.benchmarks``.

        Raises:
            ValueError: a name is not there; the message lists those that are.
        """
        known = list(models)
        for name in self.own:
            if name not in known:
                raise ValueError(f"value.own: there is no model '{name}', only {', '.join(known)}")
        names = list(benchmarks)
        if self.benchmark is not None and self.benchmark not in names:
            raise ValueError(
                f"value.benchmark: there is no '{self.benchmark}', only {', '.join(names)}"
            )
