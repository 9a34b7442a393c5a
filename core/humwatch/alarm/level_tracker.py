"""Comparison of scores with one level, with delays, a dead-band and k of n."""

from __future__ import annotations

from collections import deque

from humwatch.alarm.delay import Delay
from humwatch.alarm.rule import AlarmRule


class LevelTracker:
    """State of the scores about one level, active or inactive, by the rule.

    Args:
        level: level on the normalised scale; a score at the level counts as over it.
        rule: rule of the machine; its delays are seconds of sound.
        active: True to start active, as after a restart.
    """

    def __init__(self, level: float, rule: AlarmRule, *, active: bool = False) -> None:
        self.active = active
        self._level = level
        self._rule = rule
        self._were_over: deque[bool] = deque(maxlen=rule.n)
        self._on_delay = Delay(rule.on_delay_s)
        self._off_delay = Delay(rule.off_delay_s)

    def judge(self, score: float, audio_s: float, *, sure: bool = True) -> bool:
        """Take the score after ``audio_s`` more seconds of sound; return True if it became active or inactive.

        A score that is not ``sure`` can be over the level; it never counts as below it.
        """
        changed = self._is_below(score, audio_s, sure) if self.active else self._is_over(score, audio_s)
        if changed:
            self.active = not self.active
            self.forget()
        return changed

    def interrupt(self) -> None:
        """Start delays and k of n anew: a second could not be judged."""
        self.forget()

    def forget(self) -> None:
        """Drop the last scores and the delay that is running; stay active or inactive."""
        self._were_over.clear()
        self._on_delay.reset()
        self._off_delay.reset()

    def _is_over(self, score: float, audio_s: float) -> bool:
        self._were_over.append(score >= self._level)
        return self._on_delay.has_lasted(sum(self._were_over) >= self._rule.k, audio_s)

    def _is_below(self, score: float, audio_s: float, sure: bool) -> bool:
        return self._off_delay.has_lasted(sure and score < self._level - self._rule.dead_band, audio_s)
