"""Scores of a machine's normal sound as it came: the series that false alarms a week are estimated from."""

from __future__ import annotations

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

    @property
    def heard_s(self) -> float:
        """Length of the scored sound, seconds."""
        return self.step_s * sum(len(segment.scores) for segment in self.segments)
