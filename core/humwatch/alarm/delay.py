"""Delay in seconds of sound: a condition has to hold without a break for so long."""

from __future__ import annotations


class Delay:
    """Clock of a delay, which runs while its condition holds.

    Args:
        delay_s: length of the delay, seconds of sound.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._running_s: float | None = None

    def has_lasted(self, holds: bool, audio_s: float) -> bool:
        """Return True if the condition has held for the delay, to the nearest score; the first is at 0."""
        if not holds:
            self._running_s = None
            return False
        if self._running_s is None:
            self._running_s = 0.0
            return self._delay_s <= 0
        self._running_s += audio_s
        return self._running_s + audio_s / 2 >= self._delay_s  # steps are 0.992 s: 5 s are five of them, not six

    def reset(self) -> None:
        """Start anew with the next score."""
        self._running_s = None
