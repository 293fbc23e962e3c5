"""Prompts that begin alike, as after five solved questions: their beginning is read once.

What a token's keys and values are depends on the tokens up to it only, so those of a common
beginning serve all prompts that have it. With five-shot questions that is six tokens of seven.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_WORTH = 4
"""A beginning is shared where that spares a quarter of a group's tokens: less is not worth giving
up batches by length, and a causal pass over whole texts runs without a mask."""


@dataclass(frozen=True)
class Group:
    """Texts (by number) whose first ``length_tokens`` tokens are the same, and not all they are."""

    length_tokens: int
    members: list[int]


def group_prefixes(texts: Sequence[Sequence[int]]) -> list[Group]:
    """Groups texts that begin alike.

    Args:
        texts: tokens of each, at least one.

    Returns:
        Every number in one group, members in the order of their tokens. Texts that have no
        beginning worth sharing are one group of length 0. The same texts give the same groups in
        any order.
    """
    order = sorted(range(len(texts)), key=lambda n: (texts[n], n))
    # common[i]: what text i of the order begins with like the one before it.
    common = [0] + [_common(texts[a], texts[b]) for a, b in itertools.pairwise(order)]
    shared: list[Group] = []
    alone: list[int] = []
    for start, end in _segments(common):
        members, length = order[start:end], min(common[start + 1 : end], default=0)
        spared = length * (len(members) - 1)
        if spared and spared * _WORTH >= sum(len(texts[n]) for n in members):
            shared.append(Group(length, members))
        else:
            alone += members
    return [*shared, *([Group(0, sorted(alone))] if alone else [])]


def _segments(common: list[int]) -> list[tuple[int, int]]:
    """Cuts the ordered texts into stretches that together spare most tokens.

    A stretch of m texts spares m - 1 times its shortest common beginning. Where a stretch is cut at
    all, it is cut there.
    """
    nodes: list[tuple[int, int, int]] = []
    waiting = [(0, len(common))]
    while waiting:
        start, end = waiting.pop()
        if end - start > 1:
            cut = common.index(min(common[start + 1 : end]), start + 1, end)
            nodes.append((start, end, cut))
            waiting += [(start, cut), (cut, end)]
    # Parents stand before their parts: from the end on, parts are known first.
    best: dict[tuple[int, int], int] = {}
    whole: set[tuple[int, int]] = set()
    for start, end, cut in reversed(nodes):
        own = common[cut] * (end - start - 1)
        parts = best.get((start, cut), 0) + best.get((cut, end), 0)
        best[start, end] = max(own, parts)
        if own >= parts:
            whole.add((start, end))
    cuts = {(start, end): cut for start, end, cut in nodes}
    found: list[tuple[int, int]] = []
    waiting = [(0, len(common))]
    while waiting:
        segment = waiting.pop()
        if segment in whole or segment not in cuts:
            found.append(segment)
        else:
            cut = cuts[segment]
            waiting += [(cut, segment[1]), (segment[0], cut)]
    return [segment for segment in found if segment[0] < segment[1]]


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns how many tokens two texts begin with alike, all but one at most."""
    low, high = 0, min(len(first), len(second)) - 1
    while low < high:
        middle = (low + high + 1) // 2
        # Slices are compared by C code: some steps of halving beat a loop over the tokens.
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class PrefixStates:
    """Keys and values of a text's tokens, to be continued by many.

    Args:
        model: the causal language model without its head.
        ids: tokens of the beginning (1, P).
    """

    def __init__(self, model: Any, ids: torch.Tensor) -> None:
        from transformers import DynamicCache

        self._model = model
        cache: Any = DynamicCache(config=model.config)
        model(input_ids=ids, past_key_values=cache, use_cache=True)
        self._layers = [(layer.keys, layer.values) for layer in cache.layers]

    def continued(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Returns the states (B, S, H) after each of the tokens (B, S) that follow."""
        from transformers import DynamicCache

        cache: Any = DynamicCache(config=self._model.config)
        for layer, (keys, values) in zip(cache.layers, self._layers, strict=True):
            layer.lazy_initialization(keys, values)
            layer.keys = keys.expand(len(input_ids), -1, -1, -1)
            layer.values = values.expand(len(input_ids), -1, -1, -1)
        output = self._model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        states: torch.Tensor = output.last_hidden_state
        return states


def can_share(model: Any) -> bool:
    """Returns whether all of a model's layers keep plain keys and values of every token.

    Not so where attention sees a window only, or where a layer keeps a running state.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache: Any = DynamicCache(config=model.config)
    layers = cache.layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


__all__ = ["Group", "PrefixStates", "can_share", "group_prefixes"]
