"""Recipe section ``synth.mixture``: what the fine-tuning data is made of."""

from __future__ import annotations

from core.recipe.base import Section


class Mixture(Section):
    """Conversation sets, sampled, without duplicates, in one shuffled data set."""
