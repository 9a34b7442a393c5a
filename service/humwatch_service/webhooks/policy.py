"""When an attempt is repeated, and when no more."""

from __future__ import annotations

import random
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MAX_RETRY_AFTER_S: Final = 3_600.0
"""Longest pause that a receiver can ask for, seconds: it shall not silence alarms for longer than outages do."""


class DeliveryPolicy(BaseModel):
    """Delays of attempts and the circuit breaker's limits; the same for all webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delays_s: tuple[float, ...] = Field(
        (5.0, 30.0, 120.0, 600.0, 3_600.0),
        min_length=1,
        description="before each repetition, seconds; the last repeats",
    )
    jitter: float = Field(0.2, ge=0, lt=1, description="share of a delay that chance adds or takes away")
    give_up_s: float = Field(259_200.0, gt=0, description="age at which a notification is given up, seconds (3 days)")
    holding_attempts: int = Field(
        3, ge=0, description="a notification holds up those after it until it failed so often"
    )
    breaker_failures: int = Field(5, ge=1, description="failures in a row that open the circuit")
    breaker_open_s: float = Field(60.0, gt=0, description="time without attempts, seconds; then one decides")
    poll_s: float = Field(2.0, gt=0, description="longest time between looks into the outbox, seconds")

    def delay_s(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait after the ``failures``-th failure of a notification, counted from 1."""
        delay_s = self.delays_s[min(failures, len(self.delays_s)) - 1]
        return delay_s * chance.uniform(1 - self.jitter, 1 + self.jitter)
