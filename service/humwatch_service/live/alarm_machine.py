"""Alarm state machine of a rule and a model: the same for a machine, its candidate and a rehearsal."""

from __future__ import annotations

from humwatch.alarm.events import AlarmSnapshot
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.live.model import LiveModel
from humwatch_service.live.machine import warn_level


def alarm_machine(rule: AlarmRule, model: LiveModel, snapshot: AlarmSnapshot | None = None) -> AlarmStateMachine:
    """Return the state machine by which scores of a model become alarms under a rule."""
    return AlarmStateMachine(rule, warn_level=warn_level(model), snapshot=snapshot)
