"""Limits for a version that has not been heard for long enough to have limits of its own."""

from __future__ import annotations

from typing import Final

from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.false_alarms.decision import Decision, FalseAlarmRate
from humwatch.false_alarms.estimate import TIME_CONSTANTS_S

PROVISIONAL_LIMITS: Final = SequentialLimits(
    charts=tuple(
        Chart(time_constant_s=time_s, limit=limit)
        for time_s, limit in zip(TIME_CONSTANTS_S, (2.5, 1.9, 1.3, 1.0), strict=True)
    )
)
"""Wide: most machines have lower limits once they are heard (``docs/false-alarms.md``). A fault at three times
the level still alarms in nine seconds, one at twice the level in a minute."""


def provisional_decision(*, wanted_a_week: float, reason: str) -> Decision:
    """Return wide limits, with nothing promised.

    Args:
        wanted_a_week: false alarms a week that were asked for.
        reason: why there are no limits of the machine's own.
    """
    return Decision(
        limits=PROVISIONAL_LIMITS,
        rate=FalseAlarmRate(
            wanted_a_week=wanted_a_week,
            expected_a_week=None,
            low_a_week=None,
            high_a_week=None,
            heard_s=0.0,
            blocks=0,
            promised=False,
            reason=reason,
        ),
    )
