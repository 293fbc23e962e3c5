"""Recipe section ``corpus.replay``: general text mixed into every epoch of continued pretraining.

AstroMLab 4, section 2.1: "we incorporated a random selection of samples from the FineWeb dataset
into each training epoch [...] The specific FineWeb samples were varied for each epoch".
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.recipe.base import Section


class Replay(Section):
    """General text that keeps a model from forgetting what it knew."""

    paths: list[str] = Field(min_length=1)
    """Files, folders or patterns: Parquet (FineWeb's own files), ``.jsonl``, ``.jsonl.gz``,
    ``.json.gz`` and ``.jsonl.zst`` with one JSON object on a line."""
    name: str = "fineweb"
    """What the documents' ``source`` column says, and what their ids start with."""
    share: float = Field(0.05, gt=0.0, lt=1.0)
    """Replay tokens among all tokens of an epoch. The paper that uses replay (AstroMLab 4, section
    2.1) does not give its share; AstroMLab 3 used none. 5% is what Ibrahim et al. 2024 ("Simple and
    Scalable Strategies to Continually Pre-train Large Language Models") found to be enough where
    the new text is in the same language."""
    text_column: str = "text"
    """Column or JSON key of the text."""
    license: str | None = None
    """Licence of the documents; FineWeb is ``ODC-By-1.0``."""
    when_exhausted: Literal["error", "repeat"] = "error"
    """What to do when there is less text than all epochs need: ``repeat`` starts over, so that
    later epochs see documents of earlier ones again."""
