"""Clocks of one stream: the wall clock of its samples, and the times at which its sound came."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

LATE_S: Final = 0.5
"""Delay of sound that counts as none: sound comes in blocks, over networks."""
SLEW_EVERY_S: Final = 60.0
SLEW_S: Final = 0.5
"""Largest correction of the wall clock of samples each time: 8,000 ppm, more than any sound card is off."""
AHEAD_S: Final = 2.0
"""Lead over real time beyond which sound must have been kept during a break: the stream catches up."""
TRICKLE: Final = 10.0
"""Seconds of the clock that a second of live sound stands for at most: what comes more slowly is no sound."""


class SampleClock:
    """Wall clock of the samples of a stream. Set on the event loop; ``time_of`` may be called from any thread."""

    def __init__(
        self, rate_hz: int, start_time_s: float, *, realtime: bool, clock: Callable[[], float] = time.time
    ) -> None:
        """Make the clock.

        Args:
            rate_hz: sample rate of the stream, Hz.
            start_time_s: wall clock of sample 0, seconds since 1970.
            realtime: False for a recording, all of whose samples are from now.
            clock: wall clock, seconds since 1970.
        """
        self._rate_hz = rate_hz
        self._start_time_s = start_time_s
        self._realtime = realtime
        self._clock = clock
        self._least_late_s, self._judged_s = math.inf, time.monotonic()

    def time_of(self, sample: int) -> float:
        """Return the wall clock at a sample, seconds since 1970: never in the future, and now for a recording."""
        now_s = self._clock()
        if not self._realtime:
            return now_s
        return min(now_s, self._start_time_s + sample / self._rate_hz)

    def anchor(self, start_time_s: float) -> None:
        """Correct the wall clock of sample 0."""
        self._start_time_s = start_time_s

    def follow(self, accepted: int, arrived_s: float) -> None:
        """Follow a sound card whose seconds are longer than the clock's: slowly, as a backlog is late for a while, too.

        Args:
            accepted: index of the sample after the newest.
            arrived_s: arrival of the newest sample, monotonic seconds.
        """
        late_s = self._clock() - (self._start_time_s + accepted / self._rate_hz)
        self._least_late_s = min(self._least_late_s, late_s)
        if arrived_s - self._judged_s >= SLEW_EVERY_S:
            self._start_time_s += min(max(0.0, self._least_late_s - LATE_S), SLEW_S)
            self._least_late_s, self._judged_s = math.inf, arrived_s


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
        self._arrivals: deque[tuple[int, float]] = deque()

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
