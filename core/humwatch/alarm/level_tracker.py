"""Comparison of scores with one level, with delays, a dead-band and k of n."""

from __future__ import annotations

from collections import deque

from humwatch.alarm.rule import AlarmRule


class LevelTracker:
    """State of the scores about one level, active or inactive, by the rule.

    Args:
        level: level on the normalised scale; a score at the level counts as over it.
        rule: rule of the machine; its delays are seconds of sound.
        active: True to start active, as after a restart.
    """

    def __init__(self, level: float, rule: AlarmRule, *, active: bool = False) -> None:
        self.level = level
        self.active = active
        self._rule = rule
        self._were_over: deque[bool] = deque(maxlen=rule.n)
        self._running_s: float | None = None
        """Clock of the delay that is running: on-delay while inactive, off-delay while active."""

    def judge(self, score: float, audio_s: float, *, sure: bool = True) -> bool:
        """Take the score after ``audio_s`` more seconds of sound; return True if it became active or inactive.

        A score that is not ``sure`` can be over the level; it never counts as below it.
        """
        changed = self._is_below(score, audio_s, sure) if self.active else self._is_over(score, audio_s)
        if changed:
            self.active = not self.active
            self.forget()
        return changed

    def forget(self) -> None:
        """Drop the last scores and the delay that is running; stay active or inactive."""
        self._were_over.clear()
        self._running_s = None

    def _is_over(self, score: float, audio_s: float) -> bool:
        self._were_over.append(score >= self.level)
        return self._has_lasted(sum(self._were_over) >= self._rule.k, audio_s, self._rule.on_delay_s)

    def _is_below(self, score: float, audio_s: float, sure: bool) -> bool:
        below = sure and score < self.level - self._rule.dead_band
        return self._has_lasted(below, audio_s, self._rule.off_delay_s)

    def _has_lasted(self, holds: bool, audio_s: float, delay_s: float) -> bool:
        """Return True if the condition has held for the delay, to the nearest score; the first is at 0."""
        if not holds:
            self._running_s = None
            return False
        if self._running_s is None:
            self._running_s = 0.0
            return delay_s <= 0
        self._running_s += audio_s
        return self._running_s + audio_s / 2 >= delay_s  # steps are 0.992 s: 5 s are five of them, not six
