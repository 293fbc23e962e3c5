"""Recipe section ``corpus.repetition``: loops of OCR models taken out."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section


class Repetition(Section):
    """Runaway repetition removed (AstroMLab 4, section 2.1: "rule-based repetition removal")."""

    min_laps: float = Field(3.0, ge=2.0)
    """A loop goes round this often after its first copy; phrases under eight tokens twice as
    often."""
    min_tokens: int = Field(24, ge=16)
    """And repeats at least this many tokens: words, numbers and signs."""
    counters: bool = True
    """Also cut loops whose copies differ by a counter ("Figure 12: ... Figure 13: ...")."""
    min_chars: int = Field(200, ge=0)
    """A document of which less than this is left was nothing but a loop: rejected."""
