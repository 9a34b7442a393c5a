"""True rate of a source, estimated from the times at which its samples were taken."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from humwatch.arrays import Float64, Int64

SPAN_S: Final = 25.0
"""Pairs of this long are looked at: jitter of 50 ms over it is 0.2 %, which 26 pairs average down to 0.04 %."""
SHORTEST_S: Final = 10.0
"""Less says nothing."""
PAIRS_APART_S: Final = 0.5
"""Pairs that follow closer are left out: they bound memory, and their jitter is much the same."""
LEAST_PAIRS: Final = 8
PAUSE_S: Final = 5.0
"""After longer without a pair the count is uncertain: the estimate starts anew."""
SURE_ERRORS: Final = 5.0
"""Standard errors that a rate has to be off by: asked every second, day after day, three occur by chance."""


@dataclass(frozen=True)
class ClockRate:
    """Rate of a source by a clock.

    Attributes:
        ratio: true rate over declared rate.
        error: standard error of the ratio.
    """

    ratio: float
    error: float

    def is_off(self, limit: float) -> bool:
        """Return True if the true rate is surely not the declared one, and off by more than ``limit`` (a share)."""
        off = abs(self.ratio - 1.0)
        return off > limit and off > SURE_ERRORS * self.error


class SourceClock:
    """Pairs of a sample's index and the time when it was taken in, the true rate out.

    The clock runs evenly, but a pair may be late by a buffer or two, alone or several in a row. The median of the
    slopes between all pairs (Theil and Sen) moves less for that than least squares would. Holds the pairs of the last
    25 s, at most one each half second.

    Measured with a pair a second, each late by up to 50 ms at random: the ratio is known to 0.12 % (standard
    deviation) after 13 s and to 0.04 % after 25 s; late by up to 100 ms, to twice that. Drift of 0.5 % was named
    within 19 s of the stream's start or of its own (50 ms), or 28 s in 19 of 20 cases (100 ms); 1 % within 18 s. A
    drift that ends is remembered for 25 s at most. 0.1 s of sound that is lost and not counted looks like drift for
    up to 14 s.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self.reset()

    def reset(self) -> None:
        """Forget all pairs, as after a gap: the count may go on a little off what it was."""
        self._pairs: deque[tuple[int, float]] = deque(maxlen=round(SPAN_S / PAIRS_APART_S) + 1)
        self._rate: ClockRate | None = None

    def push(self, sample: int, time_s: float) -> None:
        """Take the index of a sample and the time when it was taken, seconds of any origin.

        A pair that lies before the last one, or more than 5 s behind it, starts a new estimate.
        """
        if self._pairs and not self._follows(sample, time_s):
            self.reset()
        if self._pairs and time_s - self._pairs[-1][1] < PAIRS_APART_S:
            return
        self._pairs.append((sample, time_s))
        while time_s - self._pairs[0][1] > SPAN_S:
            self._pairs.popleft()
        self._rate = self._estimate()

    def _follows(self, sample: int, time_s: float) -> bool:
        last_sample, last_s = self._pairs[-1]
        return sample >= last_sample and 0.0 <= time_s - last_s <= PAUSE_S

    @property
    def rate(self) -> ClockRate | None:
        """The estimate; None until 10 s are known."""
        return self._rate

    @property
    def ratio(self) -> float | None:
        """True rate over declared rate; None until 10 s are known."""
        return None if self._rate is None else self._rate.ratio

    def _estimate(self) -> ClockRate | None:
        if len(self._pairs) < LEAST_PAIRS or self._pairs[-1][1] - self._pairs[0][1] < SHORTEST_S:
            return None
        first_sample, first_s = self._pairs[0]
        sound_s = np.array([(sample - first_sample) / self._rate_hz for sample, _ in self._pairs])
        clock_s = np.array([time_s - first_s for _, time_s in self._pairs])
        return _theil_sen(clock_s, sound_s)


@lru_cache(maxsize=64)
def _pairs(points: int) -> tuple[Int64, Int64]:
    """Return the places of the earlier and the later point of all pairs."""
    earlier, later = np.triu_indices(points, 1)
    return earlier, later


def _theil_sen(x: Float64, y: Float64) -> ClockRate:
    """Return the median of the slopes between all points, float64 (n,) each, and its standard error."""
    earlier, later = _pairs(len(x))
    slope = float(np.median((y[later] - y[earlier]) / (x[later] - x[earlier])))
    spread = float(np.std(y - slope * x, ddof=2))
    error = spread / float(np.sqrt(np.sum((x - x.mean()) ** 2)))
    return ClockRate(slope, error)
