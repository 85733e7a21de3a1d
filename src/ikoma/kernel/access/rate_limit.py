"""At most so many calls of one caller in one window of time."""

from __future__ import annotations

import time

from ikoma.errors import RateLimited

_KEEP = 10_000


class RateLimit:
    """Fixed windows, counted per caller.

    Args:
        window_ms: length of a window in milliseconds.
        max_requests: calls that one caller may make in it.
        of: whose calls are counted, in the words of the refusal.
    """

    def __init__(self, window_ms: int, max_requests: int, of: str = "with this key") -> None:
        self._window = window_ms / 1000
        self._most = max_requests
        self._of = of
        self._counts: dict[str, tuple[float, int]] = {}

    def count(self, caller: str, own: int | None = None) -> None:
        """Count a call; RateLimited, with the seconds to wait, when it is one too many.

        Args:
            own: what this caller may do in a window, where that is not what all may.
        """
        most = self._most if own is None else own
        now = time.monotonic()
        start, count = self._counts.get(caller, (now, 0))
        if now - start >= self._window:
            start, count = now, 0
        if count >= most:
            wait = max(1, int(start + self._window - now) + 1)
            raise RateLimited(f"More than {most} requests in {self._window:g} s {self._of}.", retryAfter=wait)
        if len(self._counts) > _KEEP:
            self._counts = {name: seen for name, seen in self._counts.items() if now - seen[0] < self._window}
        self._counts[caller] = (start, count + 1)
