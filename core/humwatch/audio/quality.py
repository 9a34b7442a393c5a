"""Quality of the sound itself: silent, stuck, full of holes, clipped, off centre, or short of the bands that matter.

Every answer has these warnings, and sound that cannot be judged is ``unknown``, never ``normal``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from humwatch.arrays import Bool, Float32

WarningCode = Literal[
    "silent",
    "stuck",
    "drop_outs",
    "not_running",
    "clipped",
    "dc_offset",
    "level_unusual",
    "bandwidth_limited",
    "coarse_samples",
    "lossy_coded",
    "resampled",
    "channel_selected",
    "shorter_than_clip",
    "few_calibration_recordings",
]

SILENT_DBFS: Final = -85.0
"""A microphone in a room hisses louder; the noise of 16-bit rounding alone is at -101 dBFS."""
SILENT_BELOW_CALIBRATION_DB: Final = 45.0
"""As far below the usual level of a microphone as ``SILENT_DBFS`` is: for samples without a full scale."""
CLIP_LEVEL: Final = 0.999
CLIPPED_SHARE: Final = 1e-4
DC_OFFSET: Final = 0.1
STUCK_SECONDS: Final = 0.5
MIN_DBFS: Final = -200.0
LEVEL_MARGIN_DB: Final = 6.0
"""Further than this outside the levels of the calibration clips, the microphone or its gain has changed."""


class SoundWarning(BaseModel):
    """Something that the reader of a score should know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: WarningCode
    message: str


def dbfs(mean_square: float) -> float:
    """Return the level of a mean square relative to full scale (a square wave at 1 is 0 dBFS)."""
    return max(MIN_DBFS, 10.0 * math.log10(mean_square)) if mean_square > 0 else MIN_DBFS


def level_dbfs(n: int, total: float, squares: float) -> float:
    """Return the level, without their mean, of ``n`` samples of which the sum and the sum of squares are known."""
    count = max(1, n)
    return dbfs(squares / count - (total / count) ** 2)


def silence(level_dbfs: float, below_dbfs: float = SILENT_DBFS) -> str | None:
    """Return the message for a level, without the mean, that no machine has; None for one that a machine may have."""
    return f"the level is {level_dbfs:.0f} dBFS: no machine can be heard" if level_dbfs < below_dbfs else None


def silent_below(level_dbfs_low: float, *, full_scale: bool) -> float:
    """Return the level below which no machine can be heard, dBFS: fixed, but for samples without a full scale.

    Args:
        level_dbfs_low: level of the quietest calibration clip; minus infinity where none is known.
        full_scale: whether samples have a full scale.
    """
    return SILENT_DBFS if full_scale else max(MIN_DBFS + 1.0, level_dbfs_low - SILENT_BELOW_CALIBRATION_DB)


def standstill(stretch_s: float) -> str | None:
    """Return the message for one value for so long; None when it is short."""
    return f"the samples stay at one value for {stretch_s:.1f} s" if stretch_s >= STUCK_SECONDS else None


def clipping(share: float, *, full_scale: bool = True) -> str | None:
    """Return the message for this share of samples at full scale, or on flat tops; None when it is small."""
    where = "at full scale" if full_scale else "on flat tops, at one highest or lowest value"
    return f"{share:.2%} of the samples are {where}" if share >= CLIPPED_SHARE else None


def off_centre(mean: float, *, full_scale: bool = True) -> str | None:
    """Return the message for samples with this mean; None when it is near zero, or where there is no full scale."""
    if not full_scale:
        return None
    return f"the samples are {mean:+.2f} of full scale off centre" if abs(mean) >= DC_OFFSET else None


def unusual_level(level_dbfs: float, low_dbfs: float, high_dbfs: float) -> str | None:
    """Return the message for a level too far outside those of the calibration clips; None for one that is not."""
    if low_dbfs - LEVEL_MARGIN_DB <= level_dbfs <= high_dbfs + LEVEL_MARGIN_DB:
        return None
    return (
        f"the level is {level_dbfs:.1f} dBFS, that of the calibration clips {low_dbfs:.1f} to {high_dbfs:.1f} dBFS:"
        " has the microphone, its gain or the unit of its samples changed?"
    )


def missing_band(rate_hz: int, needed_hz: float) -> str | None:
    """Return the message for a rate too low for the band up to ``needed_hz``; None for one that is not."""
    if rate_hz / 2 >= needed_hz:
        return None
    return (
        f"sampled at {rate_hz} Hz, nothing above {rate_hz / 2:.0f} Hz is there to be heard, and the model"
        f" listens up to {needed_hz:.0f} Hz: the score says nothing about the machine"
    )


def nothing_above(limit_hz: float, needed_hz: float) -> str:
    """Return the message for sound that ends at a frequency, whatever its rate says."""
    return (
        f"nothing above {limit_hz:.0f} Hz is there to be heard, whatever the sample rate says, and the model listens up"
        f" to {needed_hz:.0f} Hz: the sound had a lower rate once, was cut by a codec, or the microphone is muffled"
    )


def holes_text(spans: Sequence[tuple[int, int]], rate_hz: int) -> str:
    """Return the text for holes, first sample and one past the last of each: how many, how long, and where."""
    total_ms = sum(end - start for start, end in spans) / rate_hz * 1000.0
    return f"{len(spans)} hole(s) of {total_ms:.0f} ms together"


class Stretch(NamedTuple):
    """A stretch of one value among samples that were pushed.

    Attributes:
        value: value of its samples.
        start: index of the first sample; negative where earlier pushes brought it.
        end: index one past the last sample so far.
    """

    value: float
    start: int
    end: int


class StretchFinder:
    """Samples in, stretches of one value out that are ``least`` samples long; remembers the one that goes on."""

    def __init__(self, least: int) -> None:
        self._least = least
        self.reset()

    def reset(self) -> None:
        """Forget the stretch that goes on."""
        self._value = math.nan  # differs from all
        self._length = 0

    def push(self, samples: Float32) -> list[Stretch]:
        """Take mono samples, float32 (n,), n > 0; return the long stretches that some of them are part of, in order."""
        n = samples.size
        changes = samples[1:] != samples[:-1]
        carried = self._length if float(samples[0]) == self._value else 0
        head, tail = _leading_zeros(changes) + 1, _leading_zeros(changes[::-1]) + 1
        self._value, self._length = float(samples[-1]), tail + (carried if tail == n else 0)
        if carried + head < self._least and not self._may_be_long(changes):
            return []
        edges = np.flatnonzero(changes) + 1
        starts, ends = np.append(0, edges), np.append(edges, n)
        values = samples[starts]
        starts[0] -= carried
        long = ends - starts >= self._least
        return [Stretch(*found) for found in zip(*(x[long].tolist() for x in (values, starts, ends)), strict=True)]

    def _may_be_long(self, changes: Bool) -> bool:
        """Return True if half a long stretch lies on a grid of such halves: each long one holds one of them whole."""
        half = max(1, self._least // 2)
        groups = changes.size // half
        return not bool(changes[: groups * half].reshape(groups, half).any(axis=1).all())


def _leading_zeros(flags: Bool) -> int:
    """Return the number of flags from the first on that are not set."""
    if flags.size and flags[0]:
        return 0
    first = int(flags.argmax()) if flags.size else 0
    return first if flags.size and flags[first] else flags.size


UNJUDGEABLE: Final[frozenset[WarningCode]] = frozenset(
    {"silent", "stuck", "drop_outs", "bandwidth_limited", "coarse_samples"}
)
"""Warnings about sound that says nothing of the machine: where all of it is so, the state is ``unknown``."""
