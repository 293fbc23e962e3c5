"""Recipe section ``corpus.decontaminate``: benchmark questions taken out of the training text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.eval import Name


class BenchmarkFile(Section):
    """A file of questions that must not be trained on."""

    name: Name
    """What the report calls it."""
    path: str
    """JSON lines, JSON, CSV, Parquet or text. Known by their column names: the question
    (``question``, ``prompt``, ...), its choices (``choices``, ``A`` ``B`` ..., ``choice0`` ...) and
    answer texts; of rows without a question every text column counts."""


class Decontaminate(Section):
    """Passages that say what a benchmark asks."""

    benchmarks: list[BenchmarkFile] = Field(default_factory=list)
    """Besides those of ``eval.mcq.benchmarks``, which always count."""
    ngram_words: int = Field(13, ge=5)
    """So many words of a question or choice in a row are an overlap: 13 as in GPT-3 (Brown et al.
    2020, appendix C). A shorter question is one if all of it is there."""
    min_words: int = Field(6, ge=1)
    """Questions of fewer words (``Why is the sky blue?``) count only where the text, too, has a
    question mark there, or half of their choices, or where nothing else stands on their line, in
    their table cell or between their quotes; a stem's dots count as a mark."""
    choices: bool = True
    """False: only questions are looked for."""
    max_gap_chars: int = Field(200, ge=0)
    """Letters that may stand between two parts of a question: a page's foot and the next one's
    head, a footnote, ``(B)``."""
    action: Literal["cut", "drop"] = "cut"
    """``cut``: the paragraphs that hold the overlap; the rest of a book or paper says nothing about
    the question. ``drop``: the whole document."""
    drop_items: int = Field(5, ge=1)
    """A document with this many items is a copy of the benchmark and dropped whatever the action:
    what is around the questions (keys, explanations) gives them away, too."""

    @model_validator(mode="after")
    def _unique(self) -> Decontaminate:
        names = [benchmark.name for benchmark in self.benchmarks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"'{name}' is the name of two entries of benchmarks")
        return self
