"""Does a page repeat itself? Two tests per row, each of constant cost per token.

Nougat falls into loops on about 1.5% of papers' pages and more often outside them (Blecher et al.
2023, section 5.4). An exact loop shows in its tokens. A loop with a counter in it ("[12] Author,
[13] Author, ...") does not, but its largest logits turn steady: the paper's own test.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_PERIOD_TOKENS = 512
"""Longest loop looked for: a long paragraph."""
COPIES = 4
"""A loop is this many copies in a row: a matrix of zeros or a table's rule has few."""
MIN_REPEATED_TOKENS = 120
"""And at least this much that only repeats; a short period needs more copies."""

VARIANCE_WINDOW = 15
"""Logits per variance; this and the next two are Nougat's own values (its ``model.py``)."""
VARIANCES = 200
"""Variances per variance of variances."""
VARIANCE_THRESHOLD = 0.015
"""A variance of variances below it means steady logits."""
STEADY_TOKENS = 100
"""They must stay steady this long: a passing calm is no loop."""


class TokenLoops:
    """Finds the tail of a growing sequence of tokens to be a loop."""

    def __init__(self, capacity_tokens: int) -> None:
        self._tokens = np.zeros(capacity_tokens, np.int64)
        self._count = 0
        # For period p (at p - 1): how many of the last tokens equal the one p before them.
        self._runs = np.zeros(MAX_PERIOD_TOKENS, np.int64)
        periods = np.arange(1, MAX_PERIOD_TOKENS + 1)
        self._enough = np.maximum((COPIES - 1) * periods, MIN_REPEATED_TOKENS)

    def push(self, token: int) -> int | None:
        """Takes the next token.

        Returns:
            None, or where a loop is seen the number of tokens before its second copy.
        """
        count = self._count
        seen = min(count, MAX_PERIOD_TOKENS)
        before = self._tokens[count - seen : count][::-1]
        runs = self._runs[:seen]
        runs += 1
        runs *= before == token
        self._tokens[count] = token
        self._count = count + 1
        looping = np.flatnonzero(runs >= self._enough[:seen])
        return self._count - int(runs[looping[0]]) if len(looping) else None


class SteadyLogits:
    """Nougat's test: the variance of the variance of the largest logits."""

    def __init__(self) -> None:
        self._logits: NDArray[np.float64] = np.zeros(VARIANCE_WINDOW)
        self._variances: NDArray[np.float64] = np.zeros(VARIANCES)
        self._count = 0
        self._steady = 0

    def push(self, largest_logit: float) -> int | None:
        """Takes the largest logit of the next token.

        Returns:
            None, or the number of tokens before the logits turned steady.
        """
        self._logits[self._count % VARIANCE_WINDOW] = largest_logit
        self._count += 1
        if self._count < VARIANCE_WINDOW:
            return None
        number = self._count - VARIANCE_WINDOW
        self._variances[number % VARIANCES] = self._logits.var(ddof=1) / VARIANCE_WINDOW
        if number + 1 < VARIANCES:
            return None
        steady = self._variances.var(ddof=1) < VARIANCE_THRESHOLD
        self._steady = self._steady + 1 if steady else 0
        if self._steady < STEADY_TOKENS:
            return None
        return max(0, self._count - self._steady - VARIANCES - VARIANCE_WINDOW + 2)
