"""Simulated machines: what has drifted is named with its bands and since when, and a stable machine is not."""

from __future__ import annotations

import numpy as np
import pytest

from humwatch.arrays import Float64
from humwatch.drift.change import Changes
from humwatch.drift.days import whole_days
from humwatch.drift.hours import DriftHour, HourTable
from humwatch.drift.judge import (
    MIN_DAYS,
    USUAL_SCORE_SPREAD,
    USUAL_SPREAD_DB,
    Drift,
    judge_drift,
    moved_columns,
)
from tests.core.drift.simulated import (
    BANDS,
    EDGES_HZ,
    FIRST_HOUR,
    moved,
    ramp_from_day,
    since_day,
    stable,
    until_day,
)

EVERY = np.ones(BANDS)
THREE = np.isin(np.arange(BANDS), (40, 41, 42)).astype(np.float64)
LOW = (np.arange(BANDS) < 40).astype(np.float64)
TILT = np.linspace(-1, 1, BANDS)
SEEDS = range(6)


def judged(table: HourTable, day: float, *, named: bool = False) -> Drift:
    return judge_drift(until_day(table, day), EDGES_HZ, FIRST_HOUR + round(24 * day), named=named)


def second_of(day: float) -> float:
    return 3_600.0 * (FIRST_HOUR + 24 * day)


def holds(drift: Drift, day: float) -> bool:
    assert drift.since_low_s is not None and drift.since_high_s is not None and drift.since_s is not None
    assert drift.since_low_s <= drift.since_s <= drift.since_high_s
    return drift.since_low_s <= second_of(day) <= drift.since_high_s


@pytest.mark.parametrize("seed", SEEDS)
def test_another_gain_is_named_after_three_days_with_all_bands(seed: int) -> None:
    table = stable(seed, 20, spread=0.2)
    table = moved(table, since_day(table, 10.0) * 2.0 * EVERY)
    assert judged(table, 10).state == "none"
    drift = judged(table, 13)
    assert (drift.state, drift.kind, drift.shape) == ("drifted", "all_bands", "step")
    assert holds(drift, 10.0)
    assert drift.level_shift_db == pytest.approx(2.0, abs=0.5)
    assert sum(band.high_hz - band.low_hz for band in drift.bands) > 5_000
    assert judged(table, 20, named=True).state == "drifted"


@pytest.mark.parametrize("seed", SEEDS)
def test_wear_in_three_bands_over_weeks_is_named_with_them_and_its_begin(seed: int) -> None:
    table = stable(100 + seed, 62, spread=0.2)
    table = moved(table, ramp_from_day(table, 20.0, 42) * 5.0 * THREE)
    assert judged(table, 20).state == "none"
    drift = judged(table, 45)
    assert (drift.state, drift.kind, drift.shape) == ("drifted", "some_bands", "ramp")
    assert holds(drift, 20.0)
    assert drift.bands[0].low_hz <= EDGES_HZ[40, 0] + 0.1 and drift.bands[0].high_hz >= EDGES_HZ[42, 1] - 0.1
    assert drift.bands[0].high_hz - drift.bands[0].low_hz < 120
    assert drift.bands[0].shift_db > 1.5


@pytest.mark.parametrize("seed", SEEDS)
def test_another_microphone_tilts(seed: int) -> None:
    table = stable(200 + seed, 16, spread=0.2)
    drift = judged(moved(table, since_day(table, 9.5) * 3.0 * TILT), 16)
    assert (drift.kind, drift.shape) == ("tilt", "step")
    assert holds(drift, 9.5)
    assert {np.sign(band.shift_db) for band in drift.bands} == {-1.0, 1.0}
    assert abs(drift.level_shift_db or 0.0) < 0.5


def test_a_season_is_named_once_it_is_large_and_a_small_one_never() -> None:
    table = stable(300, 180, spread=0.2)
    season = np.sin(np.pi * (table.hours - FIRST_HOUR) / (24 * 180))[:, None] * LOW
    drift = judged(moved(table, 2.0 * season), 90)
    assert (drift.state, drift.kind) == ("drifted", "some_bands")
    assert all(band.low_hz < EDGES_HZ[40, 0] and band.shift_db > 0 for band in drift.bands)
    for day in range(10, 181, 10):
        assert judged(moved(table, 0.5 * season), day).state == "none"


def test_the_score_alone_is_its_own_kind() -> None:
    table = stable(400, 20, spread=0.2)
    raised = HourTable(table.hours, table.departures_db, table.scores + 0.4 * since_day(table, 8.0)[:, 0])
    drift = judged(raised, 20)
    assert (drift.state, drift.kind, drift.bands) == ("drifted", "score", ())
    assert drift.score_shift == pytest.approx(0.4, abs=0.05)
    assert holds(drift, 8.0)


def test_what_is_over_is_no_drift_any_more() -> None:
    table = stable(500, 40, spread=0.2)
    table = moved(table, (since_day(table, 10.0) - since_day(table, 20.0)) * 3.0 * EVERY)
    assert judged(table, 20).state == "drifted"
    assert judged(table, 24, named=True).state == "none"


def test_a_drift_that_was_named_ends_later_than_it_would_begin() -> None:
    table = stable(600, 40, spread=0.1)
    table = moved(table, since_day(table, 10.0) * 0.9 * EVERY)
    assert judged(table, 40).state == "none"
    assert judged(table, 40, named=True).state == "drifted"


def test_too_little_is_said_until_there_are_days_and_never_called_none() -> None:
    table = stable(700, 6)
    nothing = judge_drift(HourTable.of([]), EDGES_HZ, FIRST_HOUR)
    assert (nothing.state, nothing.hours, nothing.first_s) == ("too_little", 0, None)
    for day in range(1, MIN_DAYS):
        assert (judged(table, day).state, judged(table, day).days) == ("too_little", day)
    assert judged(table, MIN_DAYS - 0.1).state == "too_little"  # the day is not over
    assert judged(table, MIN_DAYS).state == "none"


@pytest.mark.parametrize(
    ("hours", "now_hour", "days"),
    [
        ([1_000], 1_001, 0),
        ([1_000], 1_030, 0),
        ([1_000, 1_001, 1_002], 1_030, 0),
        ([1_000, 1_001, 1_002, 1_003], 1_030, 1),
        ([1_000, 1_001], 900, 0),
    ],
    ids=["first-hour", "one-hour-of-a-day", "too-few-hours-of-a-day", "a-day", "clock-set-back"],
)
def test_before_a_day_is_over_there_is_none(hours: list[int], now_hour: int, days: int) -> None:
    found = whole_days(np.array(hours), np.ones((len(hours), 3)), now_hour)
    assert (len(found), found.values.shape) == (days, (days, 3))


def test_nights_without_the_machine_are_no_drift() -> None:
    """Ten days heard day and night, then days alone, of a machine with 4 dB between them."""
    table = stable(800, 30, spread=0.1, cycle_db=4.0)
    place = (table.hours - FIRST_HOUR) % 24
    heard = (table.hours < FIRST_HOUR + 240) | (place < 12)
    shift_work = HourTable(table.hours[heard], table.departures_db[heard], table.scores[heard])
    for day in range(10, 31):
        assert judged(shift_work, day).state == "none"


def false_drifts(table: HourTable) -> int:
    """Return how often a machine is named, judged at the end of every day as the service does."""
    grouped, groups = table.grouped
    values = np.column_stack([grouped, table.scores])
    usual = np.array([USUAL_SPREAD_DB] * len(groups) + [USUAL_SCORE_SPREAD])
    days = whole_days(table.hours, values, int(table.hours[-1]) + 1)
    named, count = False, 0
    for n in range(MIN_DAYS, len(days) + 1):
        seen: Float64 = days.values[:n]
        if n < 28:  # the daily cycle is still being learned
            seen = whole_days(table.hours, values, int(days.first_hour[n - 1]) + 24).values
        now = bool(moved_columns(seen, Changes.of(seen, usual), named=named).any())
        count += now and not named
        named = now
    return count


@pytest.mark.parametrize(("spread", "tau_h"), [(0.2, 6.0), (0.3, 24.0), (0.3, 72.0)])
def test_a_stable_machine_is_named_less_than_once_a_year(spread: float, tau_h: float) -> None:
    """Ten machines, a year each, with daily cycles and slow wander of all bands and of regions."""
    found = [false_drifts(stable(seed, 365, spread=spread, tau_h=tau_h, absent=0.1)) for seed in range(900, 910)]
    assert sum(found) <= 5


def test_hours_with_little_sound_and_bands_that_are_not_observed_are_left_out() -> None:
    row = np.array([np.nan, *np.arange(9.0)])
    hours = [DriftHour(hour, 3_600.0 if hour % 2 else 599.0, 0.1, row) for hour in range(7, 1, -1)]
    table = HourTable.of(hours)
    assert table.hours.tolist() == [3, 5, 7]
    grouped, groups = table.grouped
    assert groups == [slice(1, 5), slice(5, 10)]
    assert grouped[0].tolist() == [1.5, 6.0]
