"""Recipe section ``corpus.dedup``: exact and near duplicates, whole documents or paragraphs."""

from __future__ import annotations

from pydantic import Field, field_validator

from core.recipe.base import Section


class DedupParagraphs(Section):
    """Paragraphs that stand word for word in another document are cut."""

    min_chars: int = Field(200, ge=1)
    """Shorter paragraphs (headings, table rows, stock phrases) may repeat."""


class Dedup(Section):
    """Of documents that say the same, one stays."""

    similarity: float | None = Field(0.5, gt=0.0, le=1.0)
    """Documents that share this much of their runs of words (Jaccard index, estimated by MinHash)
    are duplicates; ``null``: only equal texts are. On real papers the same paper from LaTeX and
    from its PDF had 0.44 to 0.84, two different papers at most 0.16; a text with one word in ten
    replaced has 0.57 to its original, with one in twenty 0.75."""
    shingle_words: int = Field(3, ge=1, le=32)
    """Words in a run. Longer runs weigh each changed word more: the same papers had 0.42 to 0.82
    with five."""
    slots: int = Field(128, ge=16, le=1024)
    """Numbers in a signature, 4 bytes each: the estimate's standard error is at most
    ``0.5 / sqrt(slots)``, 0.044."""
    priority: list[str] = Field(default_factory=list)
    """Sources whose documents stay before others', best first; then the order of
    ``corpus.sources``, then the smaller ``doc_id``."""
    paragraphs: DedupParagraphs | None = None
    """Absent: paragraphs stay. Cut, they take stock acknowledgements and quoted definitions out of
    every document but the first, and leave a hole in the others."""

    @field_validator("priority")
    @classmethod
    def _differ(cls, priority: list[str]) -> list[str]:
        for name in priority:
            if priority.count(name) > 1:
                raise ValueError(f"the source '{name}' is listed twice")
        return priority
