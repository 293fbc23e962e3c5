"""Recipe section ``eval``: benchmarks, held-out text, the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.recipe.base import Section

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Names become parts of file names, so they hold letters, digits, ``.``, ``_`` and ``-``."""


class Benchmark(Section):
    """A file of multiple-choice questions."""

    name: Name
    path: str
    """JSON lines: item_id, question, choices, answer (letter, or null where there is no key); or
    CSV: question, A, B, C, D and, where there is a key, answer."""
    group: Literal["domain", "general"] = "domain"
    """Scores of the two groups are shown apart."""


class Mcq(Section):
    """Multiple-choice accuracy by log-probability."""

    benchmarks: list[Benchmark] = Field(min_length=1)
    mode: Literal["choice", "letter"] = "choice"
    """``choice``: likelihood of each answer's text; what a tiny model can do.
    ``letter``: probability of the letters A-D after the listed choices."""
    normalize: Literal["tokens", "unconditional", "none"] = "tokens"
    """``choice`` only; what is compared. ``tokens``: mean log-probability per token, so that long
    answers are not punished. ``unconditional``: log P(answer | question) - log P(answer |
    "Answer:"), so that answers made of common words are not favoured, at twice the cost; on tiny
    models it did not do better. ``none``: the sum, which favours answers of few tokens."""
    chat_models: list[str] = Field(["sft", "instruct", "merged"])
    """Models asked under the chat template; the others get a plain prompt."""

    @model_validator(mode="after")
    def _unique(self) -> Mcq:
        _check_unique([b.name for b in self.benchmarks], "benchmarks")
        return self


class HeldoutSet(Section):
    """Held-out text for perplexity."""

    name: Name
    paths: list[str] = Field(min_length=1)
    """Files, folders or glob patterns of Markdown or text."""
    group: Literal["domain", "general"] = "domain"


class Eval(Section):
    """What is measured, on which models."""

    models: dict[Name, str] = Field(min_length=1)
    """Name in the tables: train or merge stage, or a model folder. The first one is the start
    that the others are compared with."""
    mcq: Mcq
    heldout: list[HeldoutSet] = Field(default_factory=list)

    @model_validator(mode="after")
    def _unique(self) -> Eval:
        _check_unique([s.name for s in self.heldout], "heldout")
        return self


def _check_unique(names: list[str], key: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is the name of two entries of {key}")
