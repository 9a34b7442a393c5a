"""Pace of a candidate: the time that it takes for its sound."""

from __future__ import annotations

from typing import Final

PACE_S: Final = 30.0
"""Sound over which the pace is measured."""
MAX_PACE: Final = 0.5
"""Seconds that it may take for a second of sound: beyond it, it would make the version in use late."""


class Pace:
    """Time that is taken, added up over :data:`PACE_S` of sound."""

    def __init__(self) -> None:
        self._heard_s = self._spent_s = 0.0

    def spend(self, heard_s: float, spent_s: float) -> str | None:
        """Take sound, and the time that it took, seconds; return why it is too slow, None where it is not."""
        self._heard_s += heard_s
        self._spent_s += spent_s
        if self._heard_s < PACE_S:
            return None
        heard, spent = self._heard_s, self._spent_s
        self._heard_s = self._spent_s = 0.0
        return f"too slow: {spent:.1f} s for {heard:.0f} s of sound" if spent > MAX_PACE * heard else None
