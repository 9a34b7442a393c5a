"""Sequential alarm rule: evidence adds up over time, fast for strong faults and patient for faint ones (Page 1954).

Each chart is a cumulative sum ``S = max(0, S + (min(score, highest) - reference) * seconds)`` of the scores, and
raises at its limit. A chart with a high reference is quick and hears strong faults; one with a low reference takes
minutes and hears faint ones that last. Together they are an inverse-time characteristic, as protection relays have.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field


class Chart(BaseModel):
    """One cumulative sum of scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: float = Field(gt=0, description="score at which evidence neither grows nor shrinks")
    limit: float = Field(gt=0, description="evidence that raises the alarm, score times seconds of sound")


class SequentialLimits(BaseModel):
    """Charts of a machine, fitted to its own normal scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    charts: tuple[Chart, ...] = Field(min_length=1, description="from the quickest to the most patient")
    highest: float = Field(gt=0, description="a higher score counts as this: no single second raises an alarm")

    def seconds_to_alarm(self, score: float) -> float | None:
        """Return the seconds of sound after which a constant score raises the alarm; None if it never does."""
        counted = min(score, self.highest)
        waits = [chart.limit / (counted - chart.reference) for chart in self.charts if counted > chart.reference]
        return min(waits, default=math.inf) if waits else None
