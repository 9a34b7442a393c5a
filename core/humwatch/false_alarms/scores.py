"""Scores of a machine's normal sound as it came: the series that false alarms a week are estimated from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from humwatch.arrays import Float64


@dataclass(frozen=True)
class ScoreSegment:
    """Normalised clip scores of sound without a break.

    Attributes:
        start_s: wall clock of the first score, seconds since 1970.
        scores: float64 (n,), one every ``NormalScores.step_s`` seconds.
    """

    start_s: float
    scores: Float64


@dataclass(frozen=True)
class NormalScores:
    """Normalised clip scores of normal sound, in order of time.

    Attributes:
        segments: stretches without a break; one ends where nothing could be judged, or the machine was off.
        step_s: seconds of sound between two scores.
    """

    segments: Sequence[ScoreSegment]
    step_s: float = 1.0

    def between(self, start_s: float, end_s: float) -> NormalScores:
        """Return the scores from one time to before another, seconds since 1970."""
        found = []
        for segment in self.segments:
            count = len(segment.scores)
            first, last = (
                math.ceil(min(count, max(0.0, (time_s - segment.start_s) / self.step_s))) for time_s in (start_s, end_s)
            )
            if first < last:
                found.append(ScoreSegment(segment.start_s + first * self.step_s, segment.scores[first:last]))
        return NormalScores(found, self.step_s)

    @property
    def heard_s(self) -> float:
        """Length of the scored sound, seconds."""
        return self.step_s * sum(len(segment.scores) for segment in self.segments)
