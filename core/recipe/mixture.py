"""Recipe section ``synth.mixture``: what the fine-tuning data is made of.

AstroMLab 4, section 2.2 and Figure 1: reasoning and general instruction sets with the domain's own
questions and answers; "after combination, the dataset was deduplicated and shuffled".
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from core.recipe.base import Section

TEMPLATE_SETS = ("metadata",)
"""Sets made from templates: two questions may differ in an identifier only and still be two."""

_ROUNDING = 0.01


class MixtureSet(Section):
    """One set of conversations, or all that a pattern names, and how much of it is taken.

    Of ``weight``, ``count`` and ``byte_share`` at most one; none: all of the set, once.
    """

    name: str = Field(min_length=1)
    """A set's name as in the ``dataset`` column: ``qa``, ``summaries``, ``metadata``, or a set of
    ``synth.instruct``. ``*`` stands for any letters (``nemotron/*``): the sets that it names, and
    no other entry does by its full name, share one weight, count or share."""
    weight: float | None = Field(None, gt=0.0, le=100.0)
    """How often its rows come, as epochs: 0.5 is half of them, 2.0 all of them twice, 1.5 all once
    and half of them twice."""
    count: int | None = Field(None, ge=1)
    """So many rows, or all where there are fewer."""
    byte_share: float | None = Field(None, gt=0.0, le=1.0)
    """Its share of the mixture's UTF-8 bytes, as Figure 1 of AstroMLab 4 gives sizes. No row comes
    twice: the set that has least for its share bounds all sets with a share."""
    near_duplicates: bool | None = None
    """Whether near duplicates are taken out of it; equal conversations always are. Absent: yes, but
    not of ``metadata``, whose questions come from templates: of 520 about 130 real papers, 86 were
    above a similarity of 0.5 to a question about another paper, and 31 above 0.6."""

    @property
    def without_near(self) -> bool:
        """Whether near duplicates are taken out."""
        if self.near_duplicates is None:
            return self.name not in TEMPLATE_SETS
        return self.near_duplicates

    @model_validator(mode="after")
    def _one_amount(self) -> MixtureSet:
        given = [n for n in ("weight", "count", "byte_share") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"the set '{self.name}' has both {' and '.join(given)}: keep one")
        return self


class Mixture(Section):
    """Conversation sets, sampled, without duplicates, in one shuffled data set."""

    sets: list[MixtureSet] = Field(default_factory=list)
    """What is taken, best first: of two conversations that say the same, the one of the earlier set
    stays. Sets that no entry names are left out. Absent: all of ``qa``, ``summaries``, ``metadata``
    and then of the instruction sets, so that a domain's own conversations stay."""
    total_bytes: int | None = Field(None, ge=1)
    """UTF-8 bytes that the shares of ``byte_share`` are of, or less where a set has too little.
    Absent: as much as the scarcest set allows; where other sets have a weight or a count, these
    are the rest of the total."""
    similarity: float | None = Field(0.6, gt=0.0, le=1.0)
    """Conversations that share this much of their runs of words (Jaccard index, estimated by
    MinHash; prompts of the system do not count) are near duplicates; ``null``: only equal ones are
    removed. On 369 real questions about astronomy, different ones had at most 0.49 (the contacts of
    an eclipse, told in the same words); of conversations of about 70 words 96% stay above 0.6 with
    one word in twenty changed, 74% with one in ten. Of 100 rows made from five template questions
    11 stay."""
    shingle_words: int = Field(3, ge=1, le=32)
    """Words in a run. With two, different questions come near (0.65); with five, a quarter of the
    copies with one word in twenty changed fall below 0.6."""
    slots: int = Field(128, ge=16, le=1024)
    """Numbers in a signature, 4 bytes each: the estimate's standard error is at most
    ``0.5 / sqrt(slots)``, 0.044."""
    conversations_per_shard: int = Field(8192, ge=1)
    """Rows of an output shard."""

    @model_validator(mode="after")
    def _fits(self) -> Mixture:
        names = [entry.name for entry in self.sets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the set '{name}' is listed twice")
        shares = [entry.byte_share for entry in self.sets if entry.byte_share is not None]
        total = math.fsum(shares)
        if shares and len(shares) == len(self.sets) and abs(total - 1) > _ROUNDING:
            raise ValueError(
                f"the byte shares add up to {total:.3f}: they must make 1 where every set has one"
            )
        if shares and len(shares) < len(self.sets) and total >= 1:
            raise ValueError(
                f"the byte shares add up to {total:.3f}, which leaves nothing for the other sets"
            )
        if self.total_bytes is not None and not shares:
            raise ValueError("total_bytes needs sets with byte_share")
        return self

    @property
    def entries(self) -> list[MixtureSet]:
        """The sets, or those that stand for all."""
        return self.sets or [
            MixtureSet(name=name) for name in ("qa", "summaries", *TEMPLATE_SETS, "*")
        ]
