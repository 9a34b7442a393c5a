"""Quality of the sound itself: silent, stuck, clipped, off centre, or short of the bands that matter.

Every answer has these warnings, and sound that cannot be judged is ``unknown``, never ``normal``.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from humwatch.arrays import Bool, Float32

WarningCode = Literal[
    "silent",
    "stuck",
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


def silence(level_dbfs: float) -> str | None:
    """Return the message for a level, without the mean, that no machine has; None for one that a machine may have."""
    return f"the level is {level_dbfs:.0f} dBFS: no machine can be heard" if level_dbfs < SILENT_DBFS else None


def standstill(stretch_s: float) -> str | None:
    """Return the message for one value for so long; None when it is short."""
    return f"the samples stay at one value for {stretch_s:.1f} s" if stretch_s >= STUCK_SECONDS else None


def clipping(share: float) -> str | None:
    """Return the message for this share of samples at full scale; None when it is small."""
    return f"{share:.2%} of the samples are at full scale" if share >= CLIPPED_SHARE else None


def off_centre(mean: float) -> str | None:
    """Return the message for samples with this mean; None when it is near zero."""
    return f"the samples are {mean:+.2f} of full scale off centre" if abs(mean) >= DC_OFFSET else None


def unusual_level(level_dbfs: float, low_dbfs: float, high_dbfs: float) -> str | None:
    """Return the message for a level too far outside those of the calibration clips; None for one that is not."""
    if low_dbfs - LEVEL_MARGIN_DB <= level_dbfs <= high_dbfs + LEVEL_MARGIN_DB:
        return None
    return (
        f"the level is {level_dbfs:.1f} dBFS, that of the calibration clips {low_dbfs:.1f} to {high_dbfs:.1f} dBFS:"
        " has the microphone or its gain changed?"
    )


def missing_band(rate_hz: int, needed_hz: float) -> str | None:
    """Return the message for a rate too low for the band up to ``needed_hz``; None for one that is not."""
    if rate_hz / 2 >= needed_hz:
        return None
    return (
        f"sampled at {rate_hz} Hz, nothing above {rate_hz / 2:.0f} Hz is there to be heard, and the model"
        f" listens up to {needed_hz:.0f} Hz: the score says nothing about the machine"
    )


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
    first = int(flags.argmax()) if flags.size else 0
    return first if flags.size and flags[first] else flags.size


class SoundCheck:
    """Statistics of the mono samples of a recording, and the warnings that follow; holds no sound."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._stretches = StretchFinder(max(1, math.ceil(STUCK_SECONDS * rate_hz)))
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._n = 0
        self._sum = 0.0
        self._sum_squares = 0.0
        self._clipped = 0
        self._stretches.reset()
        self._longest_stretch = 0

    def push(self, samples: Float32) -> None:
        """Take mono samples in [-1, 1], float32 (n,)."""
        if not samples.size:
            return
        wide = samples.astype(np.float64)
        self._n += wide.size
        self._sum += float(wide.sum())
        self._sum_squares += float(wide @ wide)
        self._clipped += int(np.count_nonzero(np.abs(samples) >= CLIP_LEVEL))
        stretches = self._stretches.push(samples)
        self._longest_stretch = max([self._longest_stretch, *(found.end - found.start for found in stretches)])

    @property
    def level_dbfs(self) -> float:
        """Level of all samples without their mean, dBFS."""
        if not self._n:
            return MIN_DBFS
        mean = self._sum / self._n
        return dbfs(max(0.0, self._sum_squares / self._n - mean**2))

    @property
    def clipped_share(self) -> float:
        """Share of samples at full scale."""
        return self._clipped / max(1, self._n)

    def warnings(self) -> list[SoundWarning]:
        """Return the warnings for the samples so far."""
        silent = silence(self.level_dbfs)
        found: list[tuple[WarningCode, str | None]] = [
            ("silent", silent),
            ("stuck", None if silent else standstill(self._longest_stretch / self._rate_hz)),
            ("clipped", clipping(self.clipped_share)),
            ("dc_offset", off_centre(self._sum / max(1, self._n))),
        ]
        return [SoundWarning(code=code, message=message) for code, message in found if message is not None]


UNJUDGEABLE: Final[frozenset[WarningCode]] = frozenset({"silent", "stuck", "bandwidth_limited", "coarse_samples"})
"""Warnings with which the state is ``unknown``, whatever the score."""
