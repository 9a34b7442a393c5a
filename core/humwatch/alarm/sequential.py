"""Sequential alarm rule: evidence adds up over time, so that it is fast for strong faults and patient for faint ones.

Scores are averaged over several times at once, each by an exponentially weighted moving average (a control chart
after Roberts 1959): over seconds for what is strong, over minutes for what is faint and lasts. Each average has a limit
of its own. Together they are an inverse-time characteristic, that of the thermal replica in protection relays
(IEC 60255-149): a constant score ``x`` passes the limit ``L`` of an average over ``tau`` seconds after
``-tau * log(1 - L / x)``.

A cumulative sum (Page 1954) was tried and left: where a machine's conditions last for hours it adds up without end, and
the false alarms that it will cost cannot be told from a day of sound. An average stays what the condition makes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from humwatch.alarm.delay import Delay
from humwatch.alarm.rule import AlarmRule

CAP: Final = 3.0
"""A score counts as so many limits at most: no average passes its limit in under 0.4 of its time, whatever comes."""
RELEASE: Final = 0.75
"""Share of its limit that an average has to fall below before it counts as back."""
WARN_SHARE: Final = 0.5
"""Share of its limit at which an average warns."""


class Chart(BaseModel):
    """An average of scores over time, and its limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_constant_s: float = Field(gt=0, description="time that scores are averaged over, seconds of sound")
    limit: float = Field(gt=0, description="average score that raises the alarm")

    def weight(self, audio_s: float) -> float:
        """Return the weight of a score that stands for so much sound, seconds."""
        return -math.expm1(-audio_s / self.time_constant_s)

    def seconds_to(self, score: float) -> float | None:
        """Return the seconds after which a constant score raises the alarm; None if it never does."""
        counted = min(score, CAP * self.limit)
        return -self.time_constant_s * math.log1p(-self.limit / counted) if counted > self.limit else None


class SequentialLimits(BaseModel):
    """Charts of a version, fitted to its own scores of normal sound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    charts: tuple[Chart, ...] = Field(min_length=1, max_length=16, description="from the quickest to the most patient")

    @model_validator(mode="after")
    def _ordered(self) -> SequentialLimits:
        times = [chart.time_constant_s for chart in self.charts]
        if times != sorted(set(times)):
            raise ValueError("charts are not in the order of their time constants")
        return self

    def seconds_to_alarm(self, score: float) -> float | None:
        """Return the seconds of sound after which a constant score raises the alarm; None if it never does."""
        waits = [wait for chart in self.charts if (wait := chart.seconds_to(score)) is not None]
        return min(waits, default=None)


class ChartFinding(BaseModel):
    """The average that is nearest to its limit, or reached it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_constant_s: float = Field(description="time that scores are averaged over, seconds of sound")
    average: float = Field(description="average score, at most the limit")
    limit: float = Field(description="average score that raises the alarm")


class EvidenceTracker:
    """State of the evidence about the limits of all charts, active or inactive.

    Evidence stands still while nothing can be judged, so that short faults of a source do not undo minutes of patience.

    Args:
        charts: averages and their limits.
        rule: rule of the machine, for its off-delay.
        active: True to start active, as after a restart; evidence is then that of the limits.
        share: share of the limits that makes it active.
    """

    def __init__(self, charts: Sequence[Chart], rule: AlarmRule, *, active: bool = False, share: float = 1.0) -> None:
        self.active = active
        self._charts = tuple(charts)
        self._limits = [share * chart.limit for chart in charts]
        self._averages = list(self._limits) if active else [0.0] * len(self._limits)
        self._off_delay = Delay(rule.off_delay_s)

    @property
    def nearest(self) -> ChartFinding:
        """The chart whose average is the largest part of its limit."""
        number = max(range(len(self._charts)), key=lambda i: self._averages[i] / self._limits[i])
        return ChartFinding(
            time_constant_s=self._charts[number].time_constant_s,
            average=self._averages[number],
            limit=self._limits[number],
        )

    def judge(self, score: float, audio_s: float, *, sure: bool = True) -> bool:
        """Take the score after ``audio_s`` more seconds of sound; return True if it became active or inactive.

        A score that is not ``sure`` can add to the evidence; it never takes from it.
        """
        reached = self._average(score, audio_s, sure)
        if not self.active:
            self.active = reached
            return reached
        back = all(a < RELEASE * limit for a, limit in zip(self._averages, self._limits, strict=True))
        if self._off_delay.has_lasted(sure and back, audio_s):
            self.active = False
            self._off_delay.reset()
            return True
        return False

    def interrupt(self) -> None:
        """Start the off-delay anew: a second could not be judged."""
        self._off_delay.reset()

    def forget(self) -> None:
        """Drop the evidence, as for a machine that was off; while active it is kept, as only normal sound ends that."""
        self._off_delay.reset()
        if not self.active:
            self._averages = [0.0] * len(self._averages)

    def _average(self, score: float, audio_s: float, sure: bool) -> bool:
        """Add a score to all averages; return True if one of them has reached its limit."""
        reached = False
        for i, chart in enumerate(self._charts):
            before, limit = self._averages[i], self._limits[i]
            after = before + chart.weight(audio_s) * (min(score, CAP * chart.limit) - before)
            after = after if sure else max(before, after)
            reached = reached or after >= limit
            self._averages[i] = min(after, limit)
        return reached
