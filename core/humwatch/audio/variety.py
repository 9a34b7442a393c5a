"""Variety of kept sounds: which of them tells least that others do not tell."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import signal

from humwatch.arrays import Float32, Float64, Int16

BANDS: Final = 16
LOW_HZ: Final = 50.0
HIGH_HZ: Final = 7_600.0
FLOOR_DB: Final = -120.0
HOUR_DB: Final = 0.15
"""What an hour of the day between two sounds counts for: 12 hours as much as 1.8 dB in every band."""
DAY_DB: Final = 0.05
MOST_DAYS: Final = 40
"""Days beyond which time apart counts no more."""
_FFT_S: Final = 0.064
_DAY_S: Final = 86_400.0


def band_levels(samples: Float32 | Int16, rate_hz: int) -> Float64:
    """Return the mean level of a sound in a few bands: float64 (``BANDS``,), dB relative to full scale.

    Args:
        samples: float32 in [-1, 1] or int16 (n,), of a second at least.
        rate_hz: samples a second.
    """
    scale = 1.0 / 32_768 if samples.dtype == np.int16 else 1.0
    length = min(len(samples), max(16, round(_FFT_S * rate_hz)))
    frequencies, density = signal.welch(np.asarray(samples, np.float64) * scale, rate_hz, nperseg=length)
    edges = np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 1)
    below = np.append(0.0, np.cumsum(density))[np.searchsorted(frequencies, edges)]
    power = np.diff(below) * (frequencies[1] - frequencies[0])
    levels: Float64 = 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10)))
    return levels


def most_alike(levels_db: Float64, times_s: Float64) -> int:
    """Return the index of the sound that is most like another: dropping it loses least.

    Two sounds are apart by how their bands differ, by the hour of the day and, less, by the days between them.

    Args:
        levels_db: float64 (n, bands), n >= 2.
        times_s: float64 (n,), seconds since 1970.
    """
    apart = np.sqrt(((levels_db[:, None] - levels_db[None]) ** 2).mean(axis=2))
    gap_s = np.abs(times_s[:, None] - times_s[None])
    clock_s = gap_s % _DAY_S
    apart += HOUR_DB * np.minimum(clock_s, _DAY_S - clock_s) / 3_600
    apart += DAY_DB * np.minimum(gap_s / _DAY_S, MOST_DAYS)
    np.fill_diagonal(apart, np.inf)
    nearest = np.sort(apart, axis=1)  # of the closest pair, the one whose next neighbour is closer
    return int(np.lexsort((times_s, nearest[:, min(1, len(nearest) - 1)], nearest[:, 0]))[0])
