"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

LONGEST_RETRY_AFTER_S: Final = 600.0
"""A service that asks for more is asked again anyway."""


class Backoff:
    """Exponential back-off with full jitter: clients that a restart threw out do not come back all at once."""

    def __init__(self, *, base_s: float = 0.5, cap_s: float = 30.0, chance: random.Random | None = None) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._chance = chance or random.Random()
        self._failures = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Seconds until the next try, and never less than the service asked for."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S) + self._chance.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Start from the shortest wait again: it worked."""
        self._failures = 0


@dataclass(frozen=True)
class Patience:
    """When a client tries again, and when it gives up.

    Attributes:
        base_s: longest wait after the first failure, doubled with each further one.
        cap_s: longest wait.
        settled_s: how long a connection has to last for the waits to start from the shortest again.
        slow_codes: refusals that are final for others, and tried again every ``slow_s`` here.
        slow_s: seconds between such tries.
        first_s: longest time until the first answer; None: for ever.
        lost_s: longest time without a connection that lasts, later on; None: for ever.
    """

    base_s: float = 0.5
    cap_s: float = 30.0
    settled_s: float = 10.0
    slow_codes: frozenset[str] = frozenset()
    slow_s: float = 30.0
    first_s: float | None = None
    lost_s: float | None = None

    def backoff(self) -> Backoff:
        """A fresh back-off."""
        return Backoff(base_s=self.base_s, cap_s=self.cap_s)
