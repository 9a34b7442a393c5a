"""Irregularity of a sound over time: knocks in a steady sound, pauses in a running one.

A machine that runs steadily has levels that scatter about their mean nearly as a normal distribution does. A few
knocks or pauses hardly move the mean or the variance, but they dominate the fourth moment: the kurtosis over time
rises. It is taken of levels in dB, in which a pause counts as much as a knock (the spectral kurtosis of Antoni,
Mechanical Systems and Signal Processing 20, 2006, is of powers, and shows knocks alone). A regular train of impacts
has no such kurtosis, and on a machine that knocks when it is well a missing knock hardly moves it.

Only power sums of each window are kept; they add up over any stretch of sound.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Float32, Float64, Int64

GROUPS: Final = 4
"""Groups of neighbouring bands that are watched apart. One alone has heavier tails over normal clips; eight, each of
fewer bands, scatter more and find less (measured)."""

POWERS: Final = 5
"""Powers 0 to 4 of the level, which the fourth central moment needs."""

REFERENCE_DB: Final = -60.0
"""Levels are counted from here, the middle of the range that occurs, so that powers of them stay exact enough: any
fixed level gives the same moments."""

MIN_STD_DB: Final = 0.05
"""A group that varies less over time is constant. Rounding of the power sums grows as the fourth power of (level less
reference) over this; here it moves the log kurtosis by at most 0.025 at levels of -100 to 20 dB (measured)."""

GAUSSIAN_KURTOSIS: Final = 3.0
"""Kurtosis of a normal distribution; what a constant level is taken to have, as nothing in it stands out."""

USUAL_SPREAD: Final = 0.35
"""Standard deviation of the irregularity over the normal clips of a usual machine; few clips are pulled to it."""

IRREGULAR_SHARES: Final = 8.0
"""A window is irregular that holds more than so many times its share of the fourth moment."""

MAX_TIMES: Final = 8
"""The most stretches that are named."""


class IrregularTime(BaseModel):
    """Neighbouring windows that stand out from the rest of the sound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: float = Field(description="start of the first window, s")
    end_s: float = Field(description="end of the last window, s")
    change_db: float = Field(description="mean departure from the mean level of the whole sound, dB; above 0 is louder")
    share: float = Field(ge=0, le=1, description="share of the fourth central moment of the level over time")


def rhythm_sums(windows: Float32, bands: Int64, hop_frames: int) -> Float64:
    """Sum powers of the level over the frames of each window: float64 (n, GROUPS, POWERS), powers of dB.

    The level of a group of bands in a frame is the mean of its bands, dB above ``REFERENCE_DB``. Only frames that the
    next window does not hold as well are counted, so that windows of one sound count each frame once. The sums of a
    window do not depend on the windows beside it, to the bit: bands and frames are added in their own order.

    Args:
        windows: float32 (n, L, F), log-mel levels in dB.
        bands: int64 (k,), indices of the mel bands that count; they are split into groups of equally many.
        hop_frames: distance between windows, frames.

    Raises:
        ValueError: fewer bands than groups.
    """
    if len(bands) < GROUPS:
        raise ValueError(f"{len(bands)} band(s) cannot be split into {GROUPS} groups")
    n, frames = len(windows), min(hop_frames, windows.shape[1])
    sizes = np.array([len(group) for group in np.array_split(bands, GROUPS)])
    starts = np.cumsum(sizes) - sizes
    counted = np.take(windows[:, :frames], bands, axis=2).astype(np.float64)  # (n, frames, k)
    levels = np.add.reduceat(counted, starts, axis=2) / sizes - REFERENCE_DB  # (n, frames, GROUPS)
    powers = np.empty((n, frames, GROUPS, POWERS))
    powers[..., 0] = 1.0
    for power in range(1, POWERS):
        np.multiply(powers[..., power - 1], levels, out=powers[..., power])
    sums = powers[:, 0].copy()
    for frame in range(1, frames):
        sums += powers[:, frame]
    return sums  # (n, GROUPS, POWERS)


def irregularity(sums: Float64) -> float:
    """Return the log kurtosis over time, mean over groups, from power sums (GROUPS, POWERS) of any stretch.

    Near log 3 for steady noise. A group that is constant, or of which there are no frames, counts as log 3.
    """
    _, _, variance, fourth = _central_moments(sums)
    varies = variance >= MIN_STD_DB**2
    squared = np.where(varies, variance, 1.0) ** 2
    # No kurtosis is below 1; rounding may say so.
    kurtosis = np.where(varies, np.maximum(fourth / squared, 1.0), GAUSSIAN_KURTOSIS)
    return float(np.log(kurtosis).mean())


def irregular_times(sums: Float64, window_s: float, start_s: float) -> list[IrregularTime]:
    """Return stretches of windows that stand out, at most ``MAX_TIMES``, largest share of the fourth moment first.

    They are those that dominate, not all: beside a loud knock a soft one has no share to speak of.

    Args:
        sums: float64 (n, GROUPS, POWERS), power sums of successive windows.
        window_s: time from one window to the next, s.
        start_s: start of the first window, s.
    """
    n = len(sums)
    if not n:
        return []
    share = _fourth_moment_shares(sums)
    stands_out = np.concatenate([[False], share > IRREGULAR_SHARES / n, [False]])
    found = []
    for first, end in np.flatnonzero(np.diff(stands_out)).reshape(-1, 2):
        stretch = IrregularTime(
            start_s=round(start_s + float(first) * window_s, 3),
            end_s=round(start_s + float(end) * window_s, 3),
            change_db=round(_change_db(sums, int(first), int(end)), 2),
            share=round(min(1.0, float(share[first:end].sum())), 4),
        )
        found.append(stretch)
    return sorted(found, key=lambda stretch: -stretch.share)[:MAX_TIMES]


def _central_moments(sums: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """Return count, mean, variance and fourth central moment of each group, from power sums (GROUPS, POWERS)."""
    count = sums[:, 0]
    _, first, second, third, fourth = (sums / np.maximum(count, 1.0)[:, None]).T
    variance = second - first**2
    central = fourth - 4.0 * first * third + 6.0 * first**2 * second - 3.0 * first**4
    return count, first, variance, central


def _fourth_moment_shares(sums: Float64) -> Float64:
    """Return the share of each window in the fourth central moment of all, mean over groups: float64 (n,), sum 1.

    In a constant group all windows have the same share.
    """
    _, mean, variance, _ = _central_moments(sums.sum(axis=0))
    # The fourth power of (level - mean), multiplied out.
    weights = np.stack([mean**4, -4.0 * mean**3, 6.0 * mean**2, -4.0 * mean, np.ones(GROUPS)], axis=1)
    moments = np.maximum((sums * weights).sum(axis=2), 0.0)  # (n, GROUPS)
    totals = moments.sum(axis=0)
    varies = (variance >= MIN_STD_DB**2) & (totals > 0)
    shares = np.where(varies, moments / np.where(varies, totals, 1.0), 1.0 / len(sums))
    by_window: Float64 = shares.mean(axis=1)
    return by_window


def _change_db(sums: Float64, first: int, end: int) -> float:
    """Return the mean level of the windows from ``first`` to before ``end``, less that of all, mean over groups, dB."""
    _, level, _, _ = _central_moments(sums[first:end].sum(axis=0))
    _, mean, _, _ = _central_moments(sums.sum(axis=0))
    return float((level - mean).mean())
