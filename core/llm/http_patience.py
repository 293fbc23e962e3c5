"""What the HTTP client does about a failed request: whether and when it is sent again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

from core.errors import EngineError

log = logging.getLogger(__name__)

ATTEMPTS = 6
"""Tries of a request that the server takes and fails to answer."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
PROBE_SECONDS = 1.0
"""Time between two looks whether the server is back."""


class Refused(Exception):
    """A request failed.

    Args:
        reason: why, one line without secrets.
        status: the HTTP status; 0 without an answer.
        sent: whether the server may have worked on it.
        retry_after_seconds: what the server asked for.
    """

    def __init__(
        self,
        reason: str,
        status: int = 0,
        *,
        sent: bool = True,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.sent = sent
        self.retry_after_seconds = retry_after_seconds

    @property
    def busy(self) -> bool:
        """The server is there and turns requests away for now."""
        return self.status == 429 and "insufficient_quota" not in str(self)

    @property
    def perhaps_away(self) -> bool:
        """The server, or the one behind a gateway, may be gone."""
        return self.status in (0, 502, 503, 504)

    @property
    def passing(self) -> bool:
        """The same request may pass later."""
        return self.busy or self.status == 0 or self.status >= 500 or self.status in (408, 409)


class ServerAway(EngineError):
    """The server did not come back in time."""


class Gate:
    """Closed while the server is away. For one event loop.

    Args:
        probe: asks the server whether it is there.
        server_wait_seconds: how long to wait for it.
        where: its address, for the error.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[bool]], server_wait_seconds: float, where: str
    ) -> None:
        self._probe = probe
        self._where = where
        self._server_wait_seconds = server_wait_seconds
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._probing = asyncio.Lock()
        self._back_at = -1.0

    async def opened(self) -> None:
        """Waits until the gate is open."""
        await self._is_open.wait()

    async def check(self, reason: Refused, sent_at: float) -> bool:
        """Waits until the server answers; returns whether it was away since ``sent_at``.

        Raises:
            ServerAway: it stays away too long.
        """
        async with self._probing:
            if self._back_at >= sent_at:
                return True
            away_at = time.monotonic()
            if await self._probe():
                return False
            self._is_open.clear()
            log.warning("the server is away (%s); waiting for it", reason)
            while not await self._probe():
                away_seconds = time.monotonic() - away_at
                if away_seconds >= self._server_wait_seconds:
                    raise ServerAway(
                        f"the server has been away for {away_seconds:.0f} s: {reason}",
                        where=self._where,
                        remedy="start it and run the same command again: what was answered is "
                        "kept. The key server_wait_seconds says how long to wait",
                    )
                await asyncio.sleep(PROBE_SECONDS)
            self._back_at = time.monotonic()
            log.warning("the server is back after %.0f s", self._back_at - away_at)
            self._is_open.set()
            return True


def pause_seconds(number: int, refusals: int, retry_after_seconds: float | None) -> float:
    """Returns how long to wait before a request is sent again.

    What the server asks for, else twice as long each time; both spread, so that requests which
    failed together do not return together. The spread comes from the numbers: no two runs differ.
    """
    spread = random.Random(f"{number}:{refusals}").random()
    if retry_after_seconds is not None:
        return retry_after_seconds + FIRST_PAUSE_SECONDS * spread
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** (refusals - 1), LONGEST_PAUSE_SECONDS)
    return longest * (0.5 + spread / 2)


def retry_after_seconds(value: str | None) -> float | None:
    """Reads the header ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


__all__ = ["ATTEMPTS", "Gate", "Refused", "ServerAway", "pause_seconds", "retry_after_seconds"]
