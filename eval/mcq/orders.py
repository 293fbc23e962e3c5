"""The orders in which a question's choices are shown, to measure the pull of a letter.

Models favour some letters whatever stands behind them (Zheng et al. 2024, "Large Language Models
Are Not Robust Multiple Choice Selectors"). Rotations come first: with all of them, every choice
stands once in every place, so that what is left of a preference is the letter's.
"""

from __future__ import annotations

import math
import random

from core.hashing import sha256_value


def orders(item_id: str, choices: int, count: int, seed: int) -> list[list[int]]:
    """Returns the orders that a question is shown in, the file's own first.

    Args:
        item_id: the question's.
        choices: how many it has.
        count: other orders asked for; as many as there are, where there are fewer.
        seed: the recipe's. With the id it decides which rotations come first, and what comes after
            them, so that an item's orders do not depend on the other items.

    Returns:
        Up to ``count + 1`` different orders; each has the choices' numbers in the order shown.
    """
    own = list(range(choices))
    shown = [own]
    draw = random.Random(sha256_value([seed, item_id]))
    shifts = draw.sample(range(1, choices), choices - 1)
    shown += [[*own[shift:], *own[:shift]] for shift in shifts[:count]]
    wanted = min(count + 1, math.factorial(choices))
    while len(shown) < wanted:
        order = draw.sample(own, choices)
        if order not in shown:
            shown.append(order)
    return shown


__all__ = ["orders"]
