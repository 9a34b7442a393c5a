"""Back-off: the delays between attempts, which grow with each failure in a row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

LONGEST_RETRY_AFTER_S: Final = 600.0
"""Longest wait that a service can ask for, seconds; after it, it is asked again anyway."""


def doubled(first_s: float, longest_s: float) -> tuple[float, ...]:
    """Return delays that double from the first up to the longest, seconds."""
    delays_s = [min(first_s, longest_s)]
    while 0 < delays_s[-1] < longest_s:
        delays_s.append(min(2 * delays_s[-1], longest_s))
    return tuple(delays_s)


class Backoff:
    """Exponential back-off with jitter: clients that a restart disconnected do not come back all at once."""

    def __init__(
        self,
        delays_s: Sequence[float] = doubled(0.5, 30.0),
        *,
        spread: tuple[float, float] = (0.0, 1.0),
        chance: random.Random | None = None,
    ) -> None:
        """Start without a failure.

        Args:
            delays_s: delay after the first failure, the second and so on, seconds; the last repeats.
            spread: lowest and highest factor by which chance changes a delay.
            chance: source of the jitter.
        """
        self._delays_s = delays_s
        self._spread = spread
        self._chance = chance or random.Random()
        self._failures = 0

    def delay_s(self, failures: int) -> float:
        """Return the seconds to wait after the ``failures``-th failure in a row, counted from 1."""
        delay_s = self._delays_s[min(failures, len(self._delays_s)) - 1]
        low, high = self._spread
        return self._chance.uniform(low * delay_s, high * delay_s)

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Count a failure, and return the seconds until the next attempt, never fewer than the service asked for."""
        self._failures += 1
        return min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S) + self.delay_s(self._failures)

    def reset(self) -> None:
        """Count from the first failure again: an attempt succeeded."""
        self._failures = 0
