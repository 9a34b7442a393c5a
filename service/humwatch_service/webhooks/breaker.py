"""A circuit breaker: a webhook that fails again and again is left alone for a while."""

from __future__ import annotations

from typing import Literal

Circuit = Literal["closed", "open", "half_open"]
"""``closed``: attempts are made. ``open``: none. ``half_open``: the next one decides."""


class CircuitBreaker:
    """Opens after ``failures`` in a row, for ``open_s`` seconds; times are of one clock that never goes back."""

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failures = 0
        self._until_s = 0.0

    def circuit(self, now_s: float) -> Circuit:
        """What it would say to an attempt now."""
        if self._failures < self._limit:
            return "closed"
        return "open" if now_s < self._until_s else "half_open"

    def wait_s(self, now_s: float) -> float:
        """Seconds until an attempt may be made; 0 for now."""
        return self._until_s - now_s if self.circuit(now_s) == "open" else 0.0

    def succeeded(self) -> None:
        """Close: the webhook works."""
        self._failures = 0

    def failed(self, now_s: float) -> None:
        """Count a failure; open when there are enough, and again when the attempt at half-open was one."""
        self._failures += 1
        if self._failures >= self._limit:
            self._until_s = now_s + self._open_s
