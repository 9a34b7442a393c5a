"""Hours of simulated machines: daily cycles, slow wander, and what moves their normal."""

import numpy as np

from humwatch.arrays import Float64
from humwatch.drift.hours import HourTable

BANDS = 100
EDGES_HZ = np.stack([np.geomspace(60, 7000, BANDS + 1)[:-1], np.geomspace(60, 7000, BANDS + 1)[1:]], axis=1)
FIRST_HOUR = 480_011
NOISE_DB = 0.2


def wander(rng: np.random.Generator, hours: int, columns: int, *, spread: float, tau_h: float) -> Float64:
    """Ornstein-Uhlenbeck, float64 (hours, columns)."""
    keep = np.exp(-1.0 / tau_h)
    steps = rng.normal(0, spread * np.sqrt(1 - keep**2), (hours, columns))
    values = np.empty((hours, columns))
    values[0] = rng.normal(0, spread, columns)
    for hour in range(1, hours):
        values[hour] = keep * values[hour - 1] + steps[hour]
    return values


def stable(
    seed: int, days: int, *, spread: float = 0.3, tau_h: float = 24.0, cycle_db: float = 1.0, absent: float = 0.0
) -> HourTable:
    """A machine that wanders and never drifts: all bands together, and each dozen of bands for itself."""
    rng = np.random.default_rng(seed)
    hours = 24 * days
    offset = rng.normal(0, 1.0, BANDS)  # what a calibration of one hour knows wrongly
    together = wander(rng, hours, 1, spread=spread, tau_h=tau_h)
    regions = np.repeat(wander(rng, hours, 9, spread=spread, tau_h=tau_h), 12, axis=1)[:, :BANDS]
    phase = 2 * np.pi * (np.arange(hours) + 7) / 24
    cycle = cycle_db * np.outer(np.sin(phase) + 0.4 * np.sin(2 * phase), rng.uniform(0, 1, BANDS))
    departures = offset + together + regions + cycle + rng.normal(0, NOISE_DB, (hours, BANDS))
    scores = 0.1 + 0.1 * np.abs(together[:, 0]) + rng.normal(0, 0.05, hours)
    present = np.flatnonzero(rng.random(hours) >= absent)
    return HourTable(FIRST_HOUR + present, departures[present], scores[present])


def moved(table: HourTable, shift_db: Float64, *, score: float = 0.0) -> HourTable:
    """The same hours, float64 (hours, bands) louder, and the score raised with it."""
    share = np.abs(shift_db).max(axis=1) / max(1e-9, float(np.abs(shift_db).max()))
    return HourTable(table.hours, table.departures_db + shift_db, table.scores + score * share)


def since_day(table: HourTable, day: float) -> Float64:
    """1 from the day on, float64 (hours, 1)."""
    return (table.hours - FIRST_HOUR >= 24 * day).astype(np.float64)[:, None]


def ramp_from_day(table: HourTable, day: float, days: float) -> Float64:
    """From 0 to 1 over so many days, float64 (hours, 1)."""
    return np.clip((table.hours - FIRST_HOUR - 24 * day) / (24 * days), 0, 1)[:, None]


def until_day(table: HourTable, day: float) -> HourTable:
    """What was heard before the day."""
    heard = table.hours - FIRST_HOUR < 24 * day
    return HourTable(table.hours[heard], table.departures_db[heard], table.scores[heard])
