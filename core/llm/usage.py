"""What a shard's requests took: tokens, failures, cost."""

from __future__ import annotations

from core.llm.engine import Generation
from core.recipe.engine import Prices


class Usage:
    """Counts answers by request key.

    A request asked twice, or again after a failed attempt at its shard, counts once; an answer
    from the log counts as one that was just paid for. So the counts are the same however often a
    run was stopped.
    """

    def __init__(self) -> None:
        self._taken: dict[str, tuple[int, int, bool]] = {}

    def add(self, key: str, answer: Generation) -> None:
        """Counts an answer; a later one for the same request takes its place."""
        failed = answer.error is not None
        self._taken[key] = (answer.prompt_tokens, answer.completion_tokens, failed)

    def totals(self, prices: Prices | None) -> dict[str, int | float]:
        """Returns counts, and ``cost_<currency>`` to a millionth where prices are given.

        What a server charged for requests that failed is not known and not in the cost.
        """
        taken = self._taken.values()
        prompt_tokens = sum(prompt for prompt, _, _ in taken)
        completion_tokens = sum(completion for _, completion, _ in taken)
        totals: dict[str, int | float] = {
            "requests": len(taken),
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "failed": sum(failed for _, _, failed in taken),
        }
        if prices is not None:
            millionths = (
                prompt_tokens * prices.prompt_per_million
                + completion_tokens * prices.completion_per_million
            )
            totals[f"cost_{prices.currency.lower()}"] = round(millionths / 1e6, 6)
        return totals


__all__ = ["Usage"]
