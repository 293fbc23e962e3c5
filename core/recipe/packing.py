"""Recipe value ``corpus.tokens.strategy``: how documents are laid into sequences."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["concat", "best_fit"]
"""``concat``: documents end to end, cut every ``sequence_length`` tokens, as is usual; nothing
but the end of a shard is padded. ``best_fit``: a document that fits a sequence stays whole; a
longer one gives full sequences, and its rest is packed like the others (Ding et al. 2024, "Fewer
Truncations Improve Language Modeling"), with a little more padding.
"""
