"""Clock of the arrivals of one stream: when its sound came, and whether it comes faster than time."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Final

AHEAD_S: Final = 2.0
"""Lead over real time beyond which sound must have been kept during a break: the stream catches up."""
MAX_ARRIVALS: Final = 8_192
"""Most arrivals that are kept, of which nobody asks while a machine has no model; far more than wait to be scored."""
TRICKLE: Final = 10.0
"""Seconds of the clock that a second of live sound stands for at most: what comes more slowly is no sound."""


class ArrivalClock:
    """Times at which the sound of a stream came, monotonic seconds. Belongs to the event loop.

    ``latency_s`` is for the worker that has the stream's batch; ``silent_for`` is for one thread at a time.
    """

    def __init__(self, rate_hz: int, *, realtime: bool) -> None:
        """Make the clock; ``realtime`` is False for a recording, of which any sound at any pace counts."""
        self.last_s = time.monotonic()
        self.catching_up = False
        self._rate_hz = rate_hz
        self._trickle = TRICKLE if realtime else math.inf
        self._ahead_s = 0.0
        self._stands_until_s = self.last_s
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=MAX_ARRIVALS)

    def on_audio(self, samples: int, accepted: int, held_back_s: float = 0.0) -> None:
        """Note that sound came, and see whether it comes faster than time.

        Args:
            samples: number of samples.
            accepted: index of the sample after the last of them.
            held_back_s: time that the sender had to wait before, seconds: what comes at once then was not kept by it.
        """
        seconds = samples / self._rate_hz
        before_s, self.last_s = self.last_s, time.monotonic()
        least_s = min(0.0, self._ahead_s) - held_back_s
        self._ahead_s = max(least_s, self._ahead_s - (self.last_s - before_s)) + seconds
        self.catching_up = self.catching_up or self._ahead_s > AHEAD_S
        self._stands_until_s = min(self.last_s, self._stands_until_s + self._trickle * seconds)
        self._arrivals.append((accepted, self.last_s))

    def on_caught_up(self) -> None:
        """Note that all that came is scored."""
        self._ahead_s, self.catching_up = 0.0, False

    def silent_for(self, timeout_s: float) -> bool:
        """Return True if no sound came for so long, or hardly any; to be asked about once a second."""
        now_s = time.monotonic()
        self._stands_until_s = max(self._stands_until_s, now_s - timeout_s - 1.0)  # sound after a pause counts at once
        return now_s - self._stands_until_s > timeout_s

    def latency_s(self, sample: int) -> float | None:
        """Return the seconds since the sample before ``sample`` came, None before any came; to be asked in order."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < sample:
            self._arrivals.popleft()
        return time.monotonic() - self._arrivals[0][1] if self._arrivals else None
