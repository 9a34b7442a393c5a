"""Wall clock of the samples of a stream: when each of them was recorded."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

LATE_S: Final = 0.5
"""Delay of sound that counts as none: sound comes in blocks, over networks."""
SLEW_EVERY_S: Final = 60.0
SLEW_S: Final = 0.5
"""Largest correction of the wall clock of samples each time: 8,000 ppm, more than any sound card is off."""
KEPT_S: Final = 600.0
"""Sound whose anchors are kept, seconds: more than any later look at a stream's samples goes back."""
MAX_ANCHORS: Final = 4_096

Source = Literal["said", "arrival"]
"""Who knows when sound was recorded: ``said`` by its sender, or taken from its ``arrival``."""


@dataclass(frozen=True)
class Anchor:
    """Sample whose time is known; the samples behind it are counted from there.

    Attributes:
        sample: index of the sample.
        time_s: wall clock at its begin, seconds since 1970.
        source: who knows that.
    """

    sample: int
    time_s: float
    source: Source


class SampleClock:
    """Wall clock of the samples of a stream, piece by piece.

    Set on the event loop; ``end_of`` and ``start_of`` may be called from any thread.
    """

    def __init__(
        self, rate_hz: int, start_time_s: float, *, source: Source = "arrival", clock: Callable[[], float] = time.time
    ) -> None:
        """Make the clock.

        Args:
            rate_hz: sample rate of the stream, Hz.
            start_time_s: wall clock of sample 0, seconds since 1970.
            source: who knows that.
            clock: wall clock, seconds since 1970.
        """
        self._rate_hz = rate_hz
        self._clock = clock
        self._anchors: tuple[Anchor, ...] = (Anchor(0, start_time_s, source),)  # replaced whole: threads look at it
        self._usual_late_s, self._least_late_s, self._judged_s = 0.0, math.inf, time.monotonic()
        self._start_over(source)

    @property
    def newest(self) -> Anchor:
        """Anchor of what comes now."""
        return self._anchors[-1]

    def end_of(self, sample: int) -> float:
        """Return the wall clock where the sample before ``sample`` ends, seconds since 1970: never in the future."""
        return self._time_of(sample, bisect_left)

    def start_of(self, sample: int) -> float:
        """Return the wall clock where a sample begins, seconds since 1970: never in the future."""
        return self._time_of(sample, bisect_right)

    def anchor(self, sample: int, time_s: float, source: Source) -> None:
        """Count the samples from ``sample`` on from another time on."""
        oldest = sample - KEPT_S * self._rate_hz
        before = [known for known in self._anchors if known.sample < sample]
        while len(before) > 1 and (before[1].sample <= oldest or len(before) >= MAX_ANCHORS):
            del before[0]
        self._anchors = (*before, Anchor(sample, time_s, source))
        self._start_over(source)

    def follow(self, accepted: int, arrived_s: float) -> None:
        """Follow a sound card whose seconds are longer than the clock's: slowly, as a backlog is late for a while, too.

        Args:
            accepted: index of the sample after the newest.
            arrived_s: arrival of the newest sample, monotonic seconds.
        """
        newest = self._anchors[-1]
        late_s = self._clock() - (newest.time_s + (accepted - newest.sample) / self._rate_hz)
        self._least_late_s = min(self._least_late_s, late_s)
        if arrived_s - self._judged_s >= SLEW_EVERY_S:
            self._usual_late_s = min(self._usual_late_s, self._least_late_s)
            slew_s = min(max(0.0, self._least_late_s - max(0.0, self._usual_late_s) - LATE_S), SLEW_S)
            self._anchors = (*self._anchors[:-1], replace(newest, time_s=newest.time_s + slew_s))
            self._least_late_s, self._judged_s = math.inf, arrived_s

    def _start_over(self, source: Source) -> None:
        """Measure anew how late sound comes: what was said to be of yesterday is a day late, and right."""
        self._usual_late_s = 0.0 if source == "arrival" else math.inf
        self._least_late_s, self._judged_s = math.inf, time.monotonic()

    def _time_of(self, sample: int, bisect: Callable[..., int]) -> float:
        anchors = self._anchors
        known = anchors[max(0, bisect(anchors, sample, key=lambda anchor: anchor.sample) - 1)]
        return min(self._clock(), known.time_s + (sample - known.sample) / self._rate_hz)
