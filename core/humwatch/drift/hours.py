"""Hours of scored normal sound: what drift is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.arrays import Float64, Int64

MIN_HOUR_S: Final = 600.0
"""Least scored normal sound of an hour that counts, seconds."""
GROUP_BANDS: Final = 4
"""Neighbouring bands that are judged together: they move together, and fewer are compared."""


@dataclass(frozen=True)
class DriftHour:
    """Mean of an hour of scored normal sound.

    Attributes:
        hour: hours since 1970 (UTC).
        seconds: scored normal sound in it, seconds.
        score: mean normalised score of its clips.
        departures_db: float64 (bands,), mean departure of the level from the calibration's normal clips; NaN in a band
            that is not observed.
    """

    hour: int
    seconds: float
    score: float
    departures_db: Float64


@dataclass(frozen=True)
class HourTable:
    """Hours of one calibration, in order of time.

    Attributes:
        hours: int64 (n,), hours since 1970.
        departures_db: float64 (n, bands).
        scores: float64 (n,).
    """

    hours: Int64
    departures_db: Float64
    scores: Float64

    @staticmethod
    def of(hours: Sequence[DriftHour]) -> HourTable:
        """Return the hours that have sound enough."""
        enough = sorted((each for each in hours if each.seconds >= MIN_HOUR_S), key=lambda each: each.hour)
        bands = len(hours[0].departures_db) if hours else 0
        return HourTable(
            np.array([each.hour for each in enough], np.int64),
            np.array([each.departures_db for each in enough], np.float64).reshape(len(enough), bands),
            np.array([each.score for each in enough], np.float64),
        )

    def __len__(self) -> int:
        """Return the number of hours."""
        return len(self.hours)

    @property
    def grouped(self) -> tuple[Float64, list[slice]]:
        """Departures of groups of neighbouring observed bands, float64 (n, groups), and the bands of each."""
        observed = np.isfinite(self.departures_db).all(axis=0)
        bands = np.flatnonzero(observed)
        parts = [bands[start : start + GROUP_BANDS] for start in range(0, len(bands), GROUP_BANDS)]
        if len(parts) > 1 and len(parts[-1]) < GROUP_BANDS:
            parts[-2:] = [np.concatenate(parts[-2:])]
        means = [self.departures_db[:, part].mean(axis=1) for part in parts]
        return np.stack(means, axis=1) if means else np.zeros((len(self), 0)), [
            slice(int(part[0]), int(part[-1]) + 1) for part in parts
        ]
