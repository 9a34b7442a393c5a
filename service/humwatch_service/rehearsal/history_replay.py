"""Replay of the history: the alarms that a rule would have raised on scores that were kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from humwatch.alarm.events import NO_SOUND, MachineState, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.live.model import LiveModel
from humwatch_service.live.alarm_machine import alarm_machine
from humwatch_service.shadow.matching import Interval
from humwatch_service.storage.second_series import SecondSeries

CHECK_SECONDS: Final = 1_000
"""Seconds of history between two calls of ``on_played``."""


def replay(
    model: LiveModel, rule: AlarmRule, seconds: SecondSeries, on_played: Callable[[float], None]
) -> list[Interval]:
    """Return the alarms that a rule raises on the scores of the history, by the wall clock.

    Args:
        model: model with these scores.
        rule: rule by which they become alarms.
        seconds: the history.
        on_played: called with the seconds that were played; what it raises ends it.
    """
    machine = alarm_machine(rule, model)
    alarms: list[Interval] = []
    raised_s: float | None = None
    before_s: int | None = None
    judged = seconds.judged().tolist()
    rows = zip(seconds.at_s.tolist(), seconds.scores.tolist(), seconds.states(), judged, strict=True)
    for number, (at_s, score, state, decides) in enumerate(rows):
        if before_s is not None and at_s - before_s > 2:
            machine.observe(Observation(before_s + 1.0, 0.0, "unknown", None, (NO_SOUND,)))
        before_s = at_s
        for event in machine.observe(_observation(at_s + 1.0, score, state, decides=decides)):
            if event.kind == "raised":
                raised_s = event.at_s
                machine.acknowledge(who="backtest", why="", at_s=event.at_s)
            elif event.kind == "cleared" and raised_s is not None:
                alarms.append(Interval(raised_s, event.at_s))
                raised_s = None
        if number % CHECK_SECONDS == CHECK_SECONDS - 1:
            on_played(float(CHECK_SECONDS))
    return alarms if raised_s is None else [*alarms, Interval(raised_s, math.inf)]


def _observation(at_s: float, score: float, state: MachineState, *, decides: bool) -> Observation:
    if decides:
        return Observation(at_s, 1.0, "scored", score)
    return Observation(at_s, 1.0, "off" if state == "off" else "unknown")
