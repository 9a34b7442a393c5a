"""The one waiting rule of deliveries: when an endpoint and a notification are tried again, and when no more."""

from __future__ import annotations

import math
import random
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch_service.backoff import Backoff

MAX_RETRY_AFTER_S: Final = 3_600.0
"""Longest pause that a receiver can ask for, seconds: it shall not silence alarms for longer than outages do."""

Circuit = Literal["closed", "open", "half_open"]
"""``closed``: attempts are made. ``open``: none. ``half_open``: the next one decides."""


DeliveryOutcome = Literal["delivered", "failed", "given_up"]
DELIVERY_OUTCOMES: Final[tuple[DeliveryOutcome, ...]] = ("delivered", "failed", "given_up")


class DeliveryPolicy(BaseModel):
    """Delays of attempts and the limits of the circuit; the same for all webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delays_s: tuple[float, ...] = Field(
        (5.0, 30.0, 120.0, 600.0, 3_600.0),
        min_length=1,
        description="before each repetition, seconds; the last repeats",
    )
    jitter: float = Field(0.2, ge=0, lt=1, description="share of a delay that chance adds or takes away")
    give_up_s: float = Field(259_200.0, gt=0, description="age at which a notification is given up, seconds (3 days)")
    least_attempts: int = Field(
        6, ge=1, description="attempts that a notification gets at least: its age is wrong where the clock was set"
    )
    holding_attempts: int = Field(
        3, ge=0, description="a notification holds up those after it until it failed so often"
    )
    breaker_failures: int = Field(5, ge=1, description="failures in a row that open the circuit")
    breaker_open_s: float = Field(60.0, gt=0, description="time without attempts, seconds; then one decides")
    poll_s: float = Field(2.0, gt=0, description="longest time between looks into the outbox, seconds")

    def backoff(self, chance: random.Random) -> Backoff:
        """Return the delays of a notification's repetitions."""
        return Backoff(self.delays_s, spread=(1 - self.jitter, 1 + self.jitter), chance=chance)


class EndpointBackoff:
    """The moment before which nothing is sent to an endpoint: each failure sets it, a success clears it.

    Times are of one clock that never goes back.

    Attributes:
        in_doubt: False after an attempt that succeeded; True after a failure, and before the first attempt, as
            failures before a restart are not known.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        """Start with a closed circuit.

        Args:
            failures: number of failures in a row that opens the circuit.
            open_s: shortest time for which it stays open, seconds.
        """
        self.in_doubt = True
        self._limit = failures
        self._open_s = open_s
        self._failures = 0
        self._until_s = -math.inf

    def circuit(self, now_s: float) -> Circuit:
        """Return the state of the circuit for an attempt now."""
        if self._failures < self._limit:
            return "closed"
        return "open" if now_s < self._until_s else "half_open"

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until an attempt may be made; 0 for now."""
        return max(0.0, self._until_s - now_s)

    def succeeded(self) -> None:
        """Close the circuit."""
        self.in_doubt = False
        self._failures = 0
        self._until_s = -math.inf

    def failed(self, now_s: float, pause_s: float = 0.0) -> None:
        """Count a failure: leave the endpoint alone for the pause, and for longer where the circuit opens."""
        self.in_doubt = True
        self._failures += 1
        self._until_s = now_s + max(pause_s, self._open_s if self._failures >= self._limit else 0.0)
