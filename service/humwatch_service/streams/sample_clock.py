"""Wall clock of the samples of a stream: when each of them was recorded."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from humwatch_service.protocol.limits import EARLIEST_S

LATE_S: Final = 0.5
"""Delay of sound that counts as none: sound comes in blocks, over networks."""
SLEW_EVERY_S: Final = 60.0
SLEW_S: Final = 0.5
"""Largest correction of the wall clock of samples each time: 8,000 ppm, more than any sound card is off."""
STALE_S: Final = 30.0
"""Delay that no line has for a minute: sound that nobody dated is from now all the same."""
PARTED_S: Final = 2.0
"""Step of the wall clock against the monotonic one between two looks: it was set, or the box slept."""
NEAR_S: Final = 60.0
"""Delay up to which a sender's times are those of its live sound, by a clock that agrees with the service's."""
FUTURE_S: Final = 5.0
"""Lead of a sender's clock that is borne."""
FAST_S: Final = 2.0
"""Lead over real time from which sound that nobody dated cannot be from now."""
RUN_AHEAD_S: Final = 10.0
"""Lead over real time from which what a sender said cannot be: the sound would be from the future."""
UNDATED_S: Final = 86_400.0
"""Age from which on sound has its place in the history that comes faster than time and that nobody can date."""
PACE: Final = 1.5
PACE_S: Final = 5.0
"""Such sound is from now again once it came no faster than ``PACE`` for so long."""
KEPT_S: Final = 600.0
"""Sound whose anchors are kept, seconds: more than any later look at a stream's samples goes back."""
MAX_ANCHORS: Final = 4_096

Source = Literal["said", "length", "arrival", "assumed"]
"""Basis of a time.

``said``: its sender. ``length``: it ended when it came, and its length is known. ``arrival``: it is from now.
``assumed``: it came faster than time, and nobody can date it: only its place in the history is assumed.
"""
Note = Literal["clock_set", "undated", "from_the_future"]
"""``clock_set``: the wall clock was set, and the stream's times with it. The others end what was believed before."""


@dataclass(frozen=True)
class Anchor:
    """Sample whose time is known; the samples behind it are counted from there.

    Attributes:
        sample: index of the sample.
        time_s: wall clock at its begin, seconds since 1970.
        source: what that rests on.
    """

    sample: int
    time_s: float
    source: Source


def can_be(time_s: float, now_s: float) -> bool:
    """Return True if sound may have been recorded at a time, seconds since 1970."""
    return EARLIEST_S <= time_s <= now_s + FUTURE_S


class SampleClock:
    """Wall clock of the samples of a stream, piece by piece.

    Set on the event loop; what returns the time of a sample may be called from any thread.

    Attributes:
        wall: wall clock, seconds since 1970.
        monotonic: clock that is never set, seconds.
    """

    def __init__(
        self,
        rate_hz: int,
        anchor: Anchor,
        *,
        claim: Anchor | None = None,
        length_s: float | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the clock.

        Args:
            rate_hz: sample rate of the stream, Hz.
            anchor: first anchor.
            claim: what the sender said of it, where that cannot be by the clock of now; it may be right all the same.
            length_s: length of all that comes, if it does not come as it is recorded, seconds; None: not known.
            clock: wall clock, seconds since 1970.
            monotonic: clock that is never set, seconds.
        """
        self._rate_hz = rate_hz
        self._length_s = length_s
        self.wall = clock
        self.monotonic = monotonic
        self._anchors: tuple[Anchor, ...] = (anchor,)  # replaced whole: threads look at it
        self._offset_s = clock() - monotonic()
        self._late_s = self._usual_late_s = self._judged_s = 0.0
        self._least_late_s = math.inf
        self._judged_at = anchor.sample
        self._begin(anchor.source, claim)

    @property
    def newest(self) -> Anchor:
        """Anchor of what comes now."""
        return self._anchors[-1]

    def end_of(self, sample: int) -> float:
        """Return the wall clock where the sample before ``sample`` ends, seconds since 1970: never in the future.

        Of sound that nobody can date that is now.
        """
        return self._time_of(sample, bisect_left)

    def place_of(self, sample: int) -> float:
        """Return the same for the history, where each second needs a place of its own, whoever can date it."""
        return self._placed(sample, bisect_left)

    def start_of(self, sample: int) -> float:
        """Return the wall clock where a sample begins, seconds since 1970: never in the future."""
        return self._time_of(sample, bisect_right)

    def source_of(self, sample: int) -> Source:
        """Return what the time rests on where a sample begins."""
        return self._known(sample, bisect_right).source

    def age_of(self, sample: int) -> float:
        """Return how long ago the sample before ``sample`` ended, seconds."""
        return max(0.0, self.wall() - self.end_of(sample))

    def anchor(self, anchor: Anchor, *, claim: Anchor | None = None) -> None:
        """Count the samples from that of an anchor on from its time; ``claim`` as for the first one."""
        oldest = anchor.sample - KEPT_S * self._rate_hz
        before = [known for known in self._anchors if known.sample < anchor.sample]
        while len(before) > 1 and (before[1].sample <= oldest or len(before) >= MAX_ANCHORS):
            del before[0]
        self._anchors = (*before, anchor)
        self._begin(anchor.source, claim)

    def follow(self, accepted: int) -> Note | None:
        """Compare with the wall clock, when sound has come; return what changed, if anything did.

        A sound card whose seconds are longer than the clock's is followed slowly: a backlog is late for a while, too.

        Args:
            accepted: index of the sample after the newest, which comes now.
        """
        now_s, arrived_s = self.wall(), self.monotonic()
        set_by_s, self._offset_s = now_s - arrived_s - self._offset_s, now_s - arrived_s
        if abs(set_by_s) > PARTED_S:
            self._set_by(set_by_s, accepted, now_s)
            return "clock_set"
        self._late_s = late_s = now_s - self._counted(accepted)
        if self.newest.source == "assumed":
            self._watch_pace(accepted, now_s, arrived_s)
            return None
        if -late_s > (FAST_S if self.newest.source == "arrival" else RUN_AHEAD_S):
            return self._assume(now_s)
        self._slew(accepted, now_s, arrived_s)
        return None

    def _set_by(self, seconds: float, accepted: int, now_s: float) -> None:
        """Follow a wall clock that was set, or a box that slept: what comes is as late as before, by the new clock.

        What a sender said of another time than now stays: the service's clock has nothing to do with it.
        """
        newest, claim = self.newest, self._claim
        if claim is not None and can_be(claim.time_s + (accepted - claim.sample) / self._rate_hz, now_s):
            self.anchor(claim)
        elif newest.source == "said" and abs(self._late_s) > NEAR_S:
            if not can_be(self._counted(accepted), now_s):
                self.anchor(Anchor(accepted, now_s, "arrival"), claim=newest)
        elif newest.source in ("length", "assumed"):
            self.anchor(Anchor(accepted, self._counted(accepted) + seconds, newest.source))
        else:
            self.anchor(Anchor(accepted, now_s - max(0.0, self._late_s), newest.source))

    def _assume(self, now_s: float) -> Note | None:
        newest = self.newest
        if self._length_s is not None and newest.source == "arrival":
            self.anchor(Anchor(newest.sample, now_s - self._length_s, "length"))
            return None
        self.anchor(Anchor(newest.sample, now_s - UNDATED_S, "assumed"))
        return "from_the_future" if newest.source == "said" else "undated"

    def _watch_pace(self, accepted: int, now_s: float, arrived_s: float) -> None:
        passed_s = arrived_s - self._judged_s
        if passed_s < PACE_S:
            return
        if (accepted - self._judged_at) / self._rate_hz < PACE * passed_s:
            self.anchor(Anchor(accepted, now_s, "arrival"))
        self._judged_s, self._judged_at = arrived_s, accepted

    def _slew(self, accepted: int, now_s: float, arrived_s: float) -> None:
        self._least_late_s = min(self._least_late_s, self._late_s)
        if arrived_s - self._judged_s < SLEW_EVERY_S or self.newest.source == "length":
            return
        least_s = self._least_late_s
        self._usual_late_s = min(self._usual_late_s, max(0.0, least_s))
        if self.newest.source == "arrival" and least_s > STALE_S:
            self.anchor(Anchor(accepted, now_s, "arrival"))
            return
        off_s = min(0.0, least_s) + max(0.0, least_s - self._usual_late_s - LATE_S)
        slewed = replace(self.newest, time_s=self.newest.time_s + max(-SLEW_S, min(off_s, SLEW_S)))
        self._anchors = (*self._anchors[:-1], slewed)
        self._least_late_s, self._judged_s = math.inf, arrived_s

    def _begin(self, source: Source, claim: Anchor | None = None) -> None:
        """Measure anew how late sound comes: what was said to be of yesterday is a day late, and right."""
        self._claim = claim
        self._usual_late_s = 0.0 if source == "arrival" else math.inf
        self._least_late_s, self._judged_s, self._judged_at = math.inf, self.monotonic(), self.newest.sample

    def _counted(self, sample: int) -> float:
        return self.newest.time_s + (sample - self.newest.sample) / self._rate_hz

    def _time_of(self, sample: int, bisect: Callable[..., int]) -> float:
        now = self._known(sample, bisect).source == "assumed"
        return self.wall() if now else self._placed(sample, bisect)

    def _placed(self, sample: int, bisect: Callable[..., int]) -> float:
        known = self._known(sample, bisect)
        return max(0.0, min(self.wall(), known.time_s + (sample - known.sample) / self._rate_hz))

    def _known(self, sample: int, bisect: Callable[..., int]) -> Anchor:
        anchors = self._anchors
        if len(anchors) == 1:
            return anchors[0]
        return anchors[max(0, bisect(anchors, sample, key=lambda anchor: anchor.sample) - 1)]
