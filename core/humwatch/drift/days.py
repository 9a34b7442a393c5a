"""Days of a machine: like hours are compared, so that day and night are no drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.arrays import Float64, Int64

DAY_HOURS: Final = 24
MIN_DAY_HOURS: Final = 4
"""Least hours of a day that counts."""
CYCLE_DAYS: Final = 28
"""First days from which the daily cycle is learned; later ones may have drifted."""
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Days:
    """Level of each day, with the daily cycle taken out.

    A day is 24 hours from the first hour in use on, so that each holds every hour of the clock once.

    Attributes:
        first_hour: int64 (days,), hours since 1970 of the begin of each day that has sound enough.
        values: float64 (days, columns).
    """

    first_hour: Int64
    values: Float64

    def __len__(self) -> int:
        """Return the number of days."""
        return len(self.first_hour)


def whole_days(hours: Int64, values: Float64, now_hour: int) -> Days:
    """Return the days that are over.

    The daily cycle is learned by median polish: the value of an hour is that of its day plus that of its place in the
    day. So a day of which the nights are missing compares with one that has them, and an odd hour moves nothing.

    Args:
        hours: int64 (n,), hours since 1970, ascending.
        values: float64 (n, columns), finite.
        now_hour: the running hour; the day that holds it is not over.
    """
    if not len(hours):
        return Days(np.zeros(0, np.int64), np.zeros((0, values.shape[1])))
    since = hours - hours[0]
    over = since // DAY_HOURS < (now_hour - hours[0]) // DAY_HOURS
    day, place = since[over] // DAY_HOURS, since[over] % DAY_HOURS
    cube = np.full((int(day[-1]) + 1 if len(day) else 0, DAY_HOURS, values.shape[1]), np.nan)
    cube[day, place] = values[over]
    counts = np.isfinite(cube[:, :, 0]).sum(axis=1) if values.shape[1] else np.zeros(len(cube), np.int64)
    kept = np.flatnonzero(counts >= MIN_DAY_HOURS)
    if not len(kept):
        return Days(np.zeros(0, np.int64), np.zeros((0, values.shape[1])))
    cube = cube[kept]
    cycle = np.zeros((DAY_HOURS, values.shape[1]))
    first = cube[:CYCLE_DAYS]
    for _ in range(_ROUNDS):
        levels = _median(first - cycle, axis=1)
        cycle = _median(first - levels[:, None], axis=0)
    unknown = ~np.isfinite(cycle)  # an hour of the day that the first days never had: it is like the others
    return Days(hours[0] + kept * DAY_HOURS, _median(cube - np.where(unknown, 0.0, cycle), axis=1))


def _median(values: Float64, *, axis: int) -> Float64:
    """Return the median of what is finite along an axis; NaN where nothing is. Faster than ``numpy.nanmedian``."""
    ordered = np.sort(values, axis=axis)  # NaN last
    counts = np.isfinite(values).sum(axis=axis)
    low, high = (np.expand_dims(np.maximum(at, 0), axis) for at in ((counts - 1) // 2, counts // 2))
    high = np.minimum(high, values.shape[axis] - 1)
    middle = 0.5 * (np.take_along_axis(ordered, low, axis) + np.take_along_axis(ordered, high, axis))
    found: Float64 = np.where(counts > 0, middle.squeeze(axis), np.nan)
    return found
