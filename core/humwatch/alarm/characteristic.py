"""The rule in force in words and as a curve: how far over the level, how soon."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import SequentialLimits

CURVE_SCORES: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Scores of the curve, on the normalised scale."""
_SAID_SCORES: Final = (2.0, 1.0, 0.5)


class CurvePoint(BaseModel):
    """Time to the alarm of a constant score."""

    model_config = ConfigDict(frozen=True)

    score: float = Field(description="score that stays as it is from now on; 1 is the alarm level")
    seconds: float | None = Field(description="seconds of sound until the alarm; null: never")


def seconds_to_alarm(rule: AlarmRule, limits: SequentialLimits | None, score: float) -> float | None:
    """Return the seconds of sound after which a constant score raises the alarm; None if it never does."""
    if limits is not None and rule.decision == "sequential":
        return limits.seconds_to_alarm(score)
    return max(rule.on_delay_s, float(rule.k - 1)) if score >= 1.0 else None


def curve(rule: AlarmRule, limits: SequentialLimits | None) -> tuple[CurvePoint, ...]:
    """Return the time to the alarm for scores from faint to strong."""
    return tuple(CurvePoint(score=score, seconds=seconds_to_alarm(rule, limits, score)) for score in CURVE_SCORES)


def sentence(rule: AlarmRule, limits: SequentialLimits | None) -> str:
    """Return the rule in words."""
    if limits is None or rule.decision != "sequential":
        counted = f"{rule.k} of the last {rule.n} scores have" if rule.n > 1 else "the score has"
        return f"An alarm is raised when {counted} been over the level for {_time(rule.on_delay_s)}."
    averages = [f"{chart.limit:.2f} over {_time(chart.time_constant_s)}" for chart in limits.charts]
    times = ", ".join(_said(limits, score) for score in _SAID_SCORES)
    return f"An alarm is raised when the average of the score passes {_listed(averages)}: {times}."


def _said(limits: SequentialLimits, score: float) -> str:
    level = {2.0: "twice the level", 1.0: "the level", 0.5: "half the level"}[score]
    seconds = limits.seconds_to_alarm(score)
    return f"at {level} never" if seconds is None else f"at {level} after {_time(seconds)}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _time(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5_970:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
