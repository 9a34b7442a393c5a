"""Time limits of a sender that count what comes, not how long all of it takes."""

from __future__ import annotations

import math


class SenderProgress:
    """The time that a sender has for its next bytes.

    The time begins anew with every ``min_bytes`` that came. So a sender that is slow and steady is never cut off, one
    that stops is, and so is one that sends a byte now and then to hold a place. Only time spent waiting for the
    sender counts.
    """

    def __init__(self, *, timeout_s: float, min_bytes: int, total_s: float = math.inf) -> None:
        """Begin to wait.

        Args:
            timeout_s: longest time for the next ``min_bytes``, or for the end, seconds.
            min_bytes: bytes after which the time begins anew.
            total_s: longest time for everything, seconds.
        """
        self._timeout_s = timeout_s
        self._min_bytes = min_bytes
        self._total_s = total_s
        self._waited_s = 0.0
        self._waited_in_all_s = 0.0
        self._bytes = 0

    @property
    def left_s(self) -> float:
        """Longest time to wait for something to come, seconds."""
        return max(0.0, min(self._timeout_s - self._waited_s, self._total_s - self._waited_in_all_s))

    @property
    def is_total(self) -> bool:
        """True if the time for everything ends before the time for the next bytes does."""
        return self._total_s - self._waited_in_all_s < self._timeout_s - self._waited_s

    def came(self, size: int, waited_s: float) -> None:
        """Note that so many bytes came after so many seconds of waiting for them."""
        self._waited_in_all_s += waited_s
        self._bytes += size
        if self._bytes >= self._min_bytes:
            self._bytes, self._waited_s = 0, 0.0
        else:
            self._waited_s += waited_s
