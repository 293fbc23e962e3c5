"""Recipe section ``corpus``: sources and OCR (their own files), cleaning, perplexity, packing."""

from __future__ import annotations

from pydantic import Field, field_validator

from core.recipe.base import Section
from core.recipe.engine import Engine
from core.recipe.ocr import Ocr
from core.recipe.sources import Source


class Normalize(Section):
    """Unicode repair with ftfy (AstroMLab 4, section 2.1)."""

    min_chars: int = Field(200, ge=0)
    """Shorter documents are rejected as empty."""


class Perplexity(Section):
    """Cut the paragraphs a language model finds least likely (AstroMLab 3, section II.3)."""

    engine: Engine | None = None
    """The scoring model. Absent: the model of ``train.base.path``; where the base is a tiny random
    one, a small scorer trained on the normalized text (``train.scorer``): no download needed."""
    drop_quantile: float = Field(0.02, ge=0.0, lt=1.0)
    """Share of paragraphs cut, the worst first: 2% in AstroMLab 3."""
    max_perplexity: float | None = Field(None, gt=1.0)
    """A fixed threshold instead of the quantile."""
    min_tokens: int = Field(8, ge=2)
    """Shorter paragraphs (headings, captions' stubs) are kept unscored."""
    workers: int = Field(1, ge=1)
    """Scoring actors; results do not depend on it."""


class Tokens(Section):
    """Tokenize and pack into fixed sequences."""

    sequence_length: int = Field(8192, ge=32)
    """Tokens per sequence: 8,192 in AstroMLab 3, Table 1."""


class Corpus(Section):
    """From sources to token sequences."""

    sources: list[Source] = Field(min_length=1)
    documents_per_shard: int = Field(500, ge=1)
    """Work unit of every corpus step: size it for 5-10 minutes of work."""
    ocr: Ocr = Ocr()
    normalize: Normalize = Normalize()
    perplexity: Perplexity | None = Perplexity()
    """``null`` leaves the step out."""
    tokens: Tokens = Tokens()

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: list[Source]) -> list[Source]:
        names = [source.name for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sources are named '{name}': counts are kept by name")
            if "/" in name:
                raise ValueError(f"the source's name '{name}' may not hold a slash")
        return sources
