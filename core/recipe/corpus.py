"""Recipe section ``corpus``: sources and OCR (their own files), cleaning, perplexity, packing."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field, field_validator, model_validator

from core.recipe.base import Section
from core.recipe.decontaminate import Decontaminate
from core.recipe.dedup import Dedup
from core.recipe.engine import Engine
from core.recipe.ocr import Ocr
from core.recipe.packing import Strategy
from core.recipe.repetition import Repetition
from core.recipe.replay import Replay
from core.recipe.sources import Source

_MAX_NAME_CHARS = 60


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
    per_source: bool = False
    """Each source has a line of its own at the quantile; not with ``max_perplexity``."""
    quantile_of: Literal["paragraphs", "tokens"] = "paragraphs"
    """What the quantile is a share of: paragraphs in AstroMLab 3."""
    max_perplexity: float | None = Field(None, gt=1.0)
    """A fixed threshold instead of the quantile."""
    min_tokens: int = Field(8, ge=2)
    """Shorter paragraphs (headings, captions' stubs) are kept unscored."""
    workers: int = Field(1, ge=1)
    """Scoring actors; results do not depend on it."""

    @model_validator(mode="after")
    def _one_rule(self) -> Perplexity:
        if self.per_source and self.max_perplexity is not None:
            raise ValueError("'per_source' is for the quantile: leave out 'max_perplexity'")
        return self


class Tokens(Section):
    """Tokenize and pack into fixed sequences."""

    sequence_length: int = Field(8192, ge=32)
    """Tokens per sequence: 8,192 in AstroMLab 3, Table 1."""
    strategy: Strategy = "concat"
    """``concat``: documents end to end, cut anywhere, as is usual (the papers do not say).
    ``best_fit``: documents that fit a sequence stay whole, for a few per cent of padding."""


class Corpus(Section):
    """From sources to token sequences."""

    sources: list[Source] = Field(min_length=1)
    """What is read; counts and rejects are kept by each source's name."""
    documents_per_shard: int = Field(500, ge=1)
    """Work unit of every corpus step: size it for 5-10 minutes of work."""
    ocr: Ocr = Ocr()
    normalize: Normalize = Normalize()
    repetition: Repetition | None = Repetition()
    perplexity: Perplexity | None = Perplexity()
    dedup: Dedup | None = Dedup()
    decontaminate: Decontaminate | None = Decontaminate()
    """Of ``repetition``, ``perplexity``, ``dedup`` and this one, ``null`` leaves the step out."""
    replay: Replay | None = None
    """General text mixed into every epoch of continued pretraining. Absent: none."""
    tokens: Tokens = Tokens()

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: list[Source]) -> list[Source]:
        names = Counter(source.name for source in sources)
        for name, count in names.items():
            # It is part of ids, of tables shown and of a file's name.
            if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME_CHARS:
                raise ValueError(
                    f"the source's name {name[:80]!r} is empty, over {_MAX_NAME_CHARS} characters "
                    "or holds characters that cannot be shown"
                )
            if count > 1:
                raise ValueError(f"two sources are named '{name}': counts are kept by name")
            if "/" in name:
                raise ValueError(f"the source's name '{name}' may not hold a slash")
        return sources
