"""Text that arrives in pieces, cut at the first stop string."""

from __future__ import annotations


class StopCutter:
    """Passes text on up to the first stop string, holding back what may be the beginning of one.

    Args:
        stop: the strings; none of them is passed on.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self._done = False

    def feed(self, text: str) -> str:
        """Takes more text; returns what is certain now."""
        if self._done or not self._stop:
            return "" if self._done else text
        self._held += text
        places = [place for s in self._stop if (place := self._held.find(s)) >= 0]
        if places:
            self._done = True
            return self._held[: min(places)]
        cut = len(self._held) - self._half()
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self) -> str:
        """Returns what was held back: no stop string, as it turned out."""
        return "" if self._done else self._held

    def _half(self) -> int:
        """Returns how many characters at the end may be the beginning of a stop string."""
        longest = max(len(s) for s in self._stop) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(s.startswith(self._held[-length:]) for s in self._stop):
                return length
        return 0
