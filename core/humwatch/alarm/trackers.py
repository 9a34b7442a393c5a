"""What decides about warnings and about alarms under a rule: the sequential limits, or a level with its delays."""

from __future__ import annotations

from typing import Final, Protocol

from humwatch.alarm.level_tracker import LevelTracker
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import WARN_SHARE, EvidenceTracker, SequentialLimits

ALARM_LEVEL: Final = 1.0
"""Alarm level on the normalised scale, by its definition."""


class Tracker(Protocol):
    """State of the scores about what warns, or alarms."""

    active: bool

    def judge(self, score: float, audio_s: float, *, sure: bool = True) -> bool:
        """Take a score; return True if it became active or inactive."""

    def interrupt(self) -> None:
        """Take a second that could not be judged."""

    def forget(self) -> None:
        """Begin anew; stay active or inactive."""


def trackers(
    rule: AlarmRule, limits: SequentialLimits | None, *, warn_level: float, warning: bool, over: bool
) -> tuple[Tracker, Tracker]:
    """Return what decides about warnings, and what decides about alarms.

    Args:
        rule: rule of the machine.
        limits: limits of the sequential rule; None: the on-delay decides.
        warn_level: warn level on the normalised scale.
        warning: True to start with a warning.
        over: True to start over the alarm level.
    """
    if limits is None:
        return LevelTracker(warn_level, rule, active=warning), LevelTracker(ALARM_LEVEL, rule, active=over)
    return (
        EvidenceTracker(limits.charts, rule, active=warning, share=WARN_SHARE),
        EvidenceTracker(limits.charts, rule, active=over),
    )
