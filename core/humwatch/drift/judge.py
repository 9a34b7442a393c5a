"""Judgement of a machine's hours: none, too little to tell, or drifted, with the bands and since when."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Bool, Float64
from humwatch.drift.change import MIN_AFTER, MIN_BEFORE, Changes, Shape, shifts_at
from humwatch.drift.days import DAY_HOURS, Days, whole_days
from humwatch.drift.hours import HourTable

DriftState = Literal["none", "too_little", "drifted"]
DRIFT_STATES: Final[tuple[DriftState, ...]] = get_args(DriftState)
DriftKind = Literal["all_bands", "tilt", "some_bands", "score"]

MIN_DAYS: Final = MIN_BEFORE + MIN_AFTER["step"]
LEAST_SHIFT_DB: Final = 1.0
"""Smaller shifts are no drift, however sure."""
LEAST_SCORE_SHIFT: Final = 0.25
"""The same of the mean score: a quarter of the way from the median to the alarm level."""
USUAL_SPREAD_DB: Final = 0.35
USUAL_SCORE_SPREAD: Final = 0.1
RATE: Final = 2e-5
"""Chance that the days of a stable machine look changed at one look; looks of successive days are nearly one."""
NOW_DAYS: Final = 3
"""Last days that have to show the shift as well: what is over is no drift."""
STAYS: Final = 0.7
"""Share of the limits that a drift that was named has to keep to: it does not come and go."""
TOLD: Final = 3.0
"""Shift over its error from which a group of bands is told of, once a drift is sure."""
ALIKE: Final = 0.35
"""Spread of the shifts of bands over their mean below which all moved alike."""
TILTED: Final = 0.8
"""Share of the variance between bands that a line over the logarithm of frequency explains."""
LEAST_TILT_DB: Final = 2.0
MAX_RANGES: Final = 8
HOUR_S: Final = 3_600.0


class BandShift(BaseModel):
    """Neighbouring bands that moved together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low_hz: float
    high_hz: float
    shift_db: float = Field(description="from before to now, dB; above 0 is louder")
    from_calibration_db: float = Field(description="mean departure of the last days from the calibration, dB")


class Drift(BaseModel):
    """Judgement of the hours of one calibration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: DriftState = Field(description="`too_little`: not yet days enough to tell")
    kind: DriftKind | None = Field(
        description="`all_bands`: all alike, as by another gain or distance; `tilt`: low against high, as by another"
        " microphone; `some_bands`: as by the machine or its surroundings; `score`: no band moved, but the score did;"
        " null without a drift"
    )
    shape: Shape | None = Field(description="`step`: at once; `ramp`: slowly; null without a drift")
    since_s: float | None = Field(description="likeliest begin, seconds since 1970 (UTC); null without a drift")
    since_low_s: float | None = Field(description="earliest begin of the 95 % interval")
    since_high_s: float | None = Field(description="latest begin of the 95 % interval")
    bands: tuple[BandShift, ...] = Field(description="what moved, the largest shift first; empty for `score`")
    level_shift_db: float | None = Field(description="mean shift of all bands, dB; null without a drift")
    score_shift: float | None = Field(description="shift of the mean score; null without a drift")
    hours: int = Field(ge=0, description="hours of scored normal sound behind it")
    days: int = Field(ge=0, description="whole days behind it")
    days_needed: int = Field(MIN_DAYS, description="least days before anything can be said")
    first_s: float | None = Field(description="begin of the first hour, seconds since 1970 (UTC); null without any")
    last_s: float | None = Field(description="end of the last hour, seconds since 1970 (UTC); null without any")


def judge_drift(table: HourTable, edges_hz: Float64, now_hour: int, *, named: bool = False) -> Drift:
    """Judge hours of one calibration in use.

    Compared is with the first days in use, not with the calibration's sound, which may not have heard a whole day. A
    shift has to be larger than the wander of the machine's own days explains (``RATE``, all bands together), large
    enough to matter, and there still. A stable machine is named less than once a year: see ``docs/drift.md``.

    Args:
        table: hours, in order.
        edges_hz: float64 (bands, 2), edges of each band.
        now_hour: the running hour, hours since 1970.
        named: whether the drift is named already, and so ends later than it would begin.
    """
    grouped, groups = table.grouped
    days = whole_days(table.hours, np.column_stack([grouped, table.scores]), now_hour)
    if len(days) < MIN_DAYS:
        return _nothing(table, days, "too_little")
    usual = np.array([USUAL_SPREAD_DB] * len(groups) + [USUAL_SCORE_SPREAD])
    changes = Changes.of(days.values, usual)
    moved = moved_columns(days.values, changes, named=named)
    if not moved.any():
        return _nothing(table, days, "none")
    level_moved = bool(moved[:-1].any())
    columns = np.append(moved[:-1], not level_moved)
    begin = changes.begin(columns)
    shifts = shifts_at(days.values, begin)
    strengths = shifts * np.sqrt(changes.curvature_at(begin) / changes.widening) / changes.spreads
    told = moved | ((np.abs(shifts) >= STAYS * LEAST_SHIFT_DB) & (np.abs(strengths) >= TOLD))
    by_band = whole_days(table.hours, np.nan_to_num(table.departures_db), now_hour).values
    first_hour = days.first_hour
    # what began during a day is seen on the next at the latest: the day before belongs to the interval
    earliest = first_hour[max(begin.first - 1, 0)]
    latest = first_hour[begin.last] + (DAY_HOURS if begin.last > begin.first else 0)
    return Drift(
        state="drifted",
        kind=_kind(moved, shifts[:-1], groups, edges_hz),
        shape=begin.shape,
        since_s=float(first_hour[begin.day]) * HOUR_S,
        since_low_s=float(earliest) * HOUR_S,
        since_high_s=float(max(latest, first_hour[begin.day])) * HOUR_S,
        bands=()
        if not level_moved
        else _ranges(told, groups, shifts_at(by_band, begin), by_band[-NOW_DAYS:].mean(axis=0), edges_hz),
        level_shift_db=round(float(shifts[:-1].mean()), 2) if len(groups) else None,
        score_shift=round(float(shifts[-1]), 3),
        **_behind(table, days),
    )


def moved_columns(values: Float64, changes: Changes, *, named: bool) -> Bool:
    """Return which columns of float64 (days, bands and the score) moved, surely and enough, and are so still."""
    if not changes.fits:
        return np.zeros(values.shape[1], np.bool_)
    share = STAYS if named else 1.0
    least = share * np.append(np.full(values.shape[1] - 1, LEAST_SHIFT_DB), LEAST_SCORE_SHIFT)
    before = np.median(values[: MIN_BEFORE + 2], axis=0) if len(values) > 2 * NOW_DAYS else values[0]
    now = np.median(values[-NOW_DAYS:], axis=0) - before
    sure = np.abs(changes.strengths) >= share * changes.limit(RATE)
    there = (np.abs(now) >= least) & (np.sign(now) == np.sign(changes.shifts))
    moved: Bool = sure & there & (np.abs(changes.shifts) >= least)
    return moved


def _kind(moved: Bool, shifts: Float64, groups: list[slice], edges_hz: Float64) -> DriftKind:
    if not moved[:-1].any():
        return "score"
    mean, spread = float(shifts.mean()), float(shifts.std())
    if abs(mean) >= STAYS * LEAST_SHIFT_DB and spread <= ALIKE * abs(mean):
        return "all_bands"
    middle = np.array([np.log2(edges_hz[group].mean()) for group in groups])
    octaves = middle - middle.mean()
    slope = float(octaves @ (shifts - mean) / (octaves @ octaves))
    explained = 1.0 - float(((shifts - mean - slope * octaves) ** 2).sum()) / (len(shifts) * spread**2)
    tilt_db = abs(slope) * float(np.ptp(middle))
    return "tilt" if explained >= TILTED and tilt_db >= LEAST_TILT_DB else "some_bands"


def _ranges(told: Bool, groups: list[slice], shifts: Float64, now: Float64, edges_hz: Float64) -> tuple[BandShift, ...]:
    """Return neighbouring bands of groups that are told of, joined where they moved the same way."""
    inside = np.zeros(len(shifts), np.bool_)
    for group in np.array(groups, dtype=object)[told[:-1]]:
        inside[group] = True
    bands = np.flatnonzero(inside & (np.abs(shifts) >= 0.5 * STAYS * LEAST_SHIFT_DB))
    if not len(bands):
        return ()
    breaks = (np.diff(bands) > 1) | (np.diff(np.sign(shifts[bands])) != 0)
    found = [
        BandShift(
            low_hz=round(float(edges_hz[part[0], 0]), 1),
            high_hz=round(float(edges_hz[part[-1], 1]), 1),
            shift_db=round(float(shifts[part].mean()), 2),
            from_calibration_db=round(float(now[part].mean()), 2),
        )
        for part in np.split(bands, np.flatnonzero(breaks) + 1)
    ]
    return tuple(sorted(found, key=lambda each: -abs(each.shift_db))[:MAX_RANGES])


def _behind(table: HourTable, days: Days) -> dict[str, Any]:
    hours = table.hours
    return {
        "hours": len(hours),
        "days": len(days),
        "first_s": float(hours[0]) * HOUR_S if len(hours) else None,
        "last_s": (float(hours[-1]) + 1) * HOUR_S if len(hours) else None,
    }


def _nothing(table: HourTable, days: Days, state: DriftState) -> Drift:
    return Drift(
        state=state,
        kind=None,
        shape=None,
        since_s=None,
        since_low_s=None,
        since_high_s=None,
        bands=(),
        level_shift_db=None,
        score_shift=None,
        **_behind(table, days),
    )
