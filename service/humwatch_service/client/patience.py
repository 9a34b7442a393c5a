"""Times after which a client connects again, and after which it gives up."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch_service.backoff import Backoff, doubled


@dataclass(frozen=True)
class Patience:
    """Times after which a client connects again, and after which it gives up.

    Attributes:
        base_s: longest wait after the first failure, doubled with each further one.
        cap_s: longest wait.
        settled_s: time that a connection has to last for the waits to start from the shortest again.
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
        """Return a back-off without a failure."""
        return Backoff(doubled(self.base_s, self.cap_s))
