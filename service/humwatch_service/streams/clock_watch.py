"""Watch over the wall clock: it may be set, by hand or by NTP, and stands for what happened while a box slept."""

from __future__ import annotations

import time
from collections.abc import Callable

from humwatch_service.streams.sample_clock import PARTED_S
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.live")


class ClockWatch:
    """Comparison of the wall clock with the monotonic one. For one thread at a time."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch.

        Args:
            clock: wall clock, seconds since 1970.
            monotonic: clock that is never set, seconds.
        """
        self._on_set: list[Callable[[float], None]] = []
        self._clock = clock
        self._monotonic = monotonic
        self._offset_s = clock() - monotonic()

    def subscribe(self, on_set: Callable[[float], None]) -> None:
        """Call this with each step of the wall clock, seconds; above 0 it was set forward."""
        self._on_set.append(on_set)

    def look(self) -> None:
        """See whether the clock was set since the last look, and say so."""
        before_s, self._offset_s = self._offset_s, self._clock() - self._monotonic()
        set_by_s = self._offset_s - before_s
        if abs(set_by_s) > PARTED_S:
            _log.warning("the clock was set, or the box slept", seconds=round(set_by_s, 3))
            for tell in self._on_set:
                tell(set_by_s)
