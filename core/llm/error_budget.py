"""Stops a run in which too many requests fail, rather than reject a corpus."""

from __future__ import annotations

import re
from collections import Counter

from core.errors import EngineError

MINIMUM_REQUESTS = 100
"""Requests before the share of errors means anything."""

_VARIABLE = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


class ErrorBudget:
    """Counts requests that ended.

    Args:
        max_error_share: share of them that may be errors.
        where: who was asked, for the error.
    """

    def __init__(self, max_error_share: float, where: str) -> None:
        self._max_error_share = max_error_share
        self._where = where
        self._ended = 0
        self._reasons: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def count(self, reason: str | None) -> None:
        """Counts a request that ended, with the reason if it failed.

        Raises:
            EngineError: too many have failed.
        """
        self._ended += 1
        if reason is None:
            return
        # Reasons that differ in a number or a name are one.
        kind = _VARIABLE.sub("#", reason)
        self._reasons[kind] += 1
        self._examples.setdefault(kind, reason)
        failed = self._reasons.total()
        if self._ended < MINIMUM_REQUESTS or failed <= self._max_error_share * self._ended:
            return
        ((most, times),) = self._reasons.most_common(1)
        raise EngineError(
            f"{failed} of {self._ended} requests failed, {times} of them like this: "
            f"{self._examples[most]}",
            where=self._where,
            remedy="correct what failed and run the same command again: what was answered is "
            "kept. The key max_error_share says how many may fail",
        )


__all__ = ["MINIMUM_REQUESTS", "ErrorBudget"]
