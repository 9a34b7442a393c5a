"""Alarm state machine of a rule and a model: the same for a machine, its candidate and a rehearsal."""

from __future__ import annotations

from typing import Final

from humwatch.alarm.events import AlarmSnapshot
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.live.model import LiveModel

LOWEST_WARN: Final = 1e-6
"""Warning level of calibrations in which a tenth of the clips or more have the median score."""


def alarm_machine(rule: AlarmRule, model: LiveModel | None, snapshot: AlarmSnapshot | None = None) -> AlarmStateMachine:
    """Return the state machine by which scores of a model become alarms under a rule."""
    limits = None if model is None else model.limits
    return AlarmStateMachine(rule, warn_level=warn_level(model), limits=limits, snapshot=snapshot)


def warn_level(model: LiveModel | None) -> float:
    """Return the warning level on the normalised scale; a machine without a model of its own has no other than 1."""
    if model is None:
        return 1.0
    clip = model.bundle.manifest.clip
    return min(1.0, max(LOWEST_WARN, clip.normalise(clip.warn.level)))
