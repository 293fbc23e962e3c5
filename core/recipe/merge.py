"""Recipe section ``merge``: fine-tuned models into one, through mergekit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.recipe.base import Section


class MergeInput(Section):
    """One model of the merge."""

    model: str
    """A train stage (``train.sft``) or a model folder."""
    weight: float = Field(gt=0)
    density: float = Field(1.0, gt=0, le=1)
    """Share of the task vector kept by DARE's random pruning; 1.0 keeps all."""


class Merge(Section):
    """DARE-TIES: AstroMLab 3, section IV (8B) and AstroMLab 4, section 2.4 (70B)."""

    method: Literal["dare_ties", "ties", "linear"] = "dare_ties"
    base: str
    """The model whose weights the task vectors are taken against."""
    models: list[MergeInput] = Field(min_length=1)
    out_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Arithmetic is float32 always; this is what is written."""
