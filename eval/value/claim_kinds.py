"""Kinds of claims about a table of values, as a YAML file holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from core.errors import InputError
from core.recipe.base import Section
from core.yaml_reader import read_yaml


class _Claim(Section):
    says: str
    """The claim in words."""
    where: str
    """Where the text makes it."""
    tolerance: str = ""
    """How ``between`` was chosen, where the words leave that open."""


class _Between(_Claim):
    between: list[float] = Field(min_length=2, max_length=2)
    """What the words allow, both ends included."""

    @model_validator(mode="after")
    def _ordered(self) -> _Between:
        if self.between[0] > self.between[1]:
            raise ValueError("between: the lower end comes first")
        return self


class CostRatio(_Between):
    """Cost of each of ``of``, divided by the cost of ``to``."""

    kind: Literal["cost_ratio"]
    of: list[str] = Field(min_length=1)
    to: str


class ScoreLead(_Between):
    """Score of each of ``of`` minus the score of ``over``, in points."""

    kind: Literal["score_lead"]
    of: list[str] = Field(min_length=1)
    over: str


class LeadInCost(_Between):
    """The factor in cost that a lead in score is worth, at 3.5 points a decade."""

    kind: Literal["lead_in_cost"]
    of: list[str] = Field(min_length=1)
    over: str


class CorpusUsd(_Between):
    """US dollars for so many tokens."""

    kind: Literal["corpus_usd"]
    of: list[str] = Field(min_length=1)
    tokens: float = Field(gt=0)


class Scores(_Claim):
    """Scores as stated."""

    kind: Literal["score"]
    scores: dict[str, float]


class Values(_Claim):
    """Value scores as stated."""

    kind: Literal["value"]
    values: dict[str, float]


class Count(_Claim):
    """How many models the table has."""

    kind: Literal["count"]
    models: int


class Matches(_Claim):
    """The scores of ``others`` lie in the 95% Wilson interval of ``model``."""

    kind: Literal["matches"]
    model: str
    others: list[str] = Field(min_length=1)


class SurpassedBy(_Claim):
    """``others``, and no model else, score more than ``model``."""

    kind: Literal["surpassed_by"]
    model: str
    others: list[str]


class BestValue(_Claim):
    """No model has a higher value."""

    kind: Literal["best_value"]
    model: str


class Trend(_Between):
    """Decades of value per six months, from the baseline to the best of the newest models."""

    kind: Literal["trend"]


Claim = Annotated[
    CostRatio
    | ScoreLead
    | LeadInCost
    | CorpusUsd
    | Scores
    | Values
    | Count
    | Matches
    | SurpassedBy
    | BestValue
    | Trend,
    Field(discriminator="kind"),
]


class Claims(Section):
    """A file of claims."""

    source: str
    """The text that makes them."""
    claims: list[Claim] = Field(min_length=1)


def read_claims(path: Path) -> Claims:
    """Reads a file of claims.

    Raises:
        InputError: it is not there, no YAML, or a claim is of no known kind.
    """
    remedy = "samples/value/claims.yaml is a complete example"
    try:
        return Claims.model_validate(read_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the claims do not fit: {first['msg']}", where=f"{path}, key {key}", remedy=remedy
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"the claims cannot be read: {error}", where=str(path), remedy=remedy
        ) from error
