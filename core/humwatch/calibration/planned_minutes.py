"""Minutes of a plan that there are: held in memory, or released because they are kept elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from humwatch.calibration.calibration_buffer import CalibrationBuffer, CollectedMinute
from humwatch.calibration.plan import CollectionPlan


class PlannedMinutes:
    """Minutes held and released in, which are wanted next out. Any thread may call it."""

    def __init__(self, plan: CollectionPlan, held: CalibrationBuffer, released: Sequence[float]) -> None:
        """Count minutes.

        Args:
            plan: minutes that are wanted, and when.
            held: minutes that are held; who changes them calls :meth:`on_change`.
            released: times of the others, seconds since 1970.
        """
        self.plan = plan
        self._held = held
        self._lock = threading.Lock()
        self._released = list(released)
        self._times: list[float] | None = None

    @property
    def released(self) -> int:
        """Number of minutes that are kept elsewhere."""
        return len(self._released)

    @property
    def all_there(self) -> bool:
        """True while there are as many minutes as the plan wants."""
        return len(self.times()) >= self.plan.minutes

    def times(self) -> list[float]:
        """Return the times of the minutes, the open one left out, seconds since 1970."""
        with self._lock:
            if self._times is None:
                self._times = [*self._released, *self._held.times()]
            return self._times

    def wants(self, at_s: float) -> bool:
        """Return True if sound of a time is wanted: a minute is open, or may begin."""
        return self.plan.wants(at_s, self.times())

    def on_change(self) -> None:
        """Count the minutes that are held anew."""
        self._times = None

    def release(self, minute: CollectedMinute) -> None:
        """Let go of a minute, and of those before it: it is kept elsewhere, and counts as before."""
        with self._lock:
            self._released.append(minute.at_s)
            self._held.release(minute.number)
            self._times = None

    def forget(self, at_s: float) -> None:
        """Count a minute that was released, by its time, no more: the plan makes it up."""
        with self._lock:
            self._released.remove(at_s)
            self._times = None

    def on_clock_set(self, seconds: float, plan: CollectionPlan, released: Sequence[float]) -> None:
        """Follow a clock that was set by so many seconds, with the plan and the released minutes by the new one."""
        with self._lock:
            self._held.shift(seconds)
            self.plan, self._released, self._times = plan, list(released), None
