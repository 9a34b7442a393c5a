"""Narrow spectral lines of a clip: their drift, another speed, a missing line.

Power spectra that are fine enough to tell lines apart (3.9 Hz a bin at 16 kHz; a mel band holds many) are added up
over blocks of sound, and a clip is the sum of its blocks. On an axis of ln f another speed moves all lines of a machine
by the same distance, so it shows as the shift at which two spectra correlate best. The level is compared without
its running mean over the axis, so neither loudness nor the colour of the room counts.

Comparison of a clip with normal ones: :mod:`humwatch.detectors.normal_lines`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import get_window

from humwatch.arrays import Complex128, Float32, Float64, Int64
from humwatch.audio.features import frames_of
from humwatch.errors import AudioError, AudioRateUnsupported

FRAME_SAMPLES: Final = 4096
"""Length of a Hann frame: 256 ms at 16 kHz. Its main lobe is 4 bins (16 Hz) wide (Harris, Proc. IEEE 66, 1978)."""

HOP_SAMPLES: Final = 2048
"""Distance between frames."""

LOW_HZ: Final = 80.0
"""Lowest frequency of the axis; below, the main lobe is broader than the background that it has to stand out of."""

HIGH_HZ: Final = 6_000.0
"""End of the axis; at 16 kHz it leaves a factor of 1.3 for a faster machine below a resampler's roll-off."""

STEP: Final = 0.0025
"""Distance of points on the axis of ln f: 0.25 % of frequency, to which a shift is resolved."""

AXIS_HZ: Final[Float64] = np.exp(np.arange(math.log(LOW_HZ), math.log(HIGH_HZ), STEP))
"""Frequency of each point of the axis: float64 (points,)."""
AXIS_HZ.flags.writeable = False

DRIFT_WIDTH: Final = 0.03
"""Background of the structure that drift is read from, in ln f: only the sharpest lines, as a clip is compared with
itself. Twice as much gives false alarms (measured)."""

SPEED_WIDTH: Final = 0.1
"""Background of the structure that speed is read from, in ln f; between clips lines are never so sharp."""

LINE_WIDTH: Final = 0.2
"""Background of a single line, in ln f: the main lobe is 20 % of 80 Hz, and must not be its own background."""

MIN_DRIFT: Final = 0.005
"""The smallest shift in ln f that counts as a drift: two points."""

MIN_SPEED_CHANGE: Final = 0.01
"""The smallest shift in ln f that counts as another speed; so far may a line be from its place and not be missing."""

MAX_SHIFT: Final = 0.12
"""The largest shift in ln f that is looked for, either way."""

MAX_STRUCTURE_DB: Final = 8.0
"""Limit of the structure that speed is read from: one loud line of the room must not outweigh the whole machine."""

FLOOR_POWER: Final = 1e-12
"""Added to every power, for the logarithm of 0; the rounding of 16 bits has 1e-7 in every frame."""

_RATE_HZ: Final = 16_000
_SHIFT_POINTS: Final = round(MAX_SHIFT / STEP)
_SHIFT_PLACES: Final = np.arange(-_SHIFT_POINTS, _SHIFT_POINTS + 1)
_SHIFTS: Final[Float64] = STEP * np.arange(-_SHIFT_POINTS, _SHIFT_POINTS + 1, dtype=np.float64)  # in ln f
FFT_POINTS: Final = 1 << (len(AXIS_HZ) + _SHIFT_POINTS).bit_length()  # so that no shift wraps around
_HANN: Final[Float32] = get_window("hann", FRAME_SAMPLES, fftbins=True).astype(np.float32)
STRUCTURE, PROMINENCE, PEAKS = 0, 1, slice(2, 4)
"""Rows of :attr:`ClipLines.features`."""


@dataclass(frozen=True)
class LinePower:
    """Power spectra of the frames of a stretch of sound, added up.

    Attributes:
        power: float64 (bins,), sum of squared magnitudes, from 0 Hz to just above ``HIGH_HZ``.
        frames: number of frames.
        rate_hz: sample rate, Hz; a bin is ``rate_hz / FRAME_SAMPLES`` wide.
    """

    power: Float64
    frames: int
    rate_hz: int = _RATE_HZ

    def __add__(self, other: LinePower) -> LinePower:
        if self.rate_hz != other.rate_hz:
            raise ValueError(f"spectra at {self.rate_hz} Hz and at {other.rate_hz} Hz cannot be added")
        return LinePower(self.power + other.power, self.frames + other.frames, self.rate_hz)

    @staticmethod
    def nothing(rate_hz: int = _RATE_HZ) -> LinePower:
        """Return the spectrum of no frames.

        Raises:
            AudioRateUnsupported: the rate is too low for ``HIGH_HZ``.
        """
        bins = int(HIGH_HZ * FRAME_SAMPLES / rate_hz) + 2
        if bins > FRAME_SAMPLES // 2 + 1:
            raise AudioRateUnsupported(f"lines are looked for up to {HIGH_HZ:g} Hz, which {rate_hz} Hz does not hold")
        return LinePower(np.zeros(bins), 0, rate_hz)


def line_power(samples: Float32, rate_hz: int) -> LinePower:
    """Add up the power spectra of all whole frames in ``samples``, mono float32 (n,) in [-1, 1].

    All frames are transformed at once, so that memory grows with n: meant for blocks of about a second.

    Raises:
        AudioError: the samples are of another type or shape, or the rate is too low for ``HIGH_HZ``.
    """
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise AudioError(f"mono float32 samples expected, got {samples.dtype} of shape {samples.shape}")
    nothing = LinePower.nothing(rate_hz)
    if len(samples) < FRAME_SAMPLES:
        return nothing
    framed = frames_of(samples, FRAME_SAMPLES, HOP_SAMPLES) * _HANN
    spectrum = np.fft.rfft(framed, axis=1)[:, : len(nothing.power)]
    powers = spectrum.real**2 + spectrum.imag**2  # (frames, bins)
    return LinePower(powers.sum(axis=0, dtype=np.float64), len(framed), rate_hz)


@dataclass(frozen=True)
class ClipLines:
    """Lines of a clip.

    Attributes:
        early: spectra of its earlier half.
        late: spectra of its later half.
    """

    early: LinePower
    late: LinePower

    @staticmethod
    def of(blocks: Sequence[LinePower]) -> ClipLines:
        """Join successive blocks; the middle one of an odd number is of the earlier half."""
        half = (len(blocks) + 1) // 2
        rate_hz = blocks[0].rate_hz if blocks else _RATE_HZ
        return ClipLines(_sum(blocks[:half], rate_hz), _sum(blocks[half:], rate_hz))

    @property
    def whole(self) -> LinePower:
        """Spectra of the whole clip."""
        return self.early + self.late

    @property
    def is_judgeable(self) -> bool:
        """True if both halves have frames with sound in them; digital silence has no lines."""
        return all(half.frames > 0 and 0.0 < half.power.sum() < np.inf for half in (self.early, self.late))

    @cached_property
    def drift(self) -> tuple[float, float]:
        """Raw score of a drift within the clip, and the shift of the later half against the earlier, relative."""
        return drifts([self])[0]

    @cached_property
    def features(self) -> Float64:
        """Features that are compared with normal clips: float64 (4, points), dB.

        Rows are the structure that speed is read from, the prominence of lines, and the highest level and the
        highest prominence within ``MIN_SPEED_CHANGE`` of each point.
        """
        found: Float64 = features([self])[0]
        return found


def drifts(clips: Sequence[ClipLines]) -> list[tuple[float, float]]:
    """Return :attr:`ClipLines.drift` of several clips that can be judged."""
    halves = [clip.early for clip in clips], [clip.late for clip in clips]
    early, late = (_structure(_levels(half), DRIFT_WIDTH) for half in halves)
    squared = zip((early**2).sum(axis=1).tolist(), (late**2).sum(axis=1).tolist(), strict=True)
    norms = [math.sqrt(before * after + 1e-9) for before, after in squared]
    return best_shifts(np.conj(np.fft.rfft(early, FFT_POINTS)), late, norms, MIN_DRIFT)


def features(clips: Sequence[ClipLines]) -> Float64:
    """Return :attr:`ClipLines.features` of several clips: float64 (clips, 4, points), dB."""
    level = _levels([clip.whole for clip in clips])
    found = np.empty((len(clips), 4, len(AXIS_HZ)))
    found[:, PROMINENCE] = _structure(level, LINE_WIDTH)
    found[:, STRUCTURE] = np.clip(_structure(level, SPEED_WIDTH), -MAX_STRUCTURE_DB, MAX_STRUCTURE_DB)
    size = 2 * round(MIN_SPEED_CHANGE / STEP) + 1
    shown = np.stack([level, found[:, PROMINENCE]], axis=1)
    maximum_filter1d(shown, size, axis=2, mode="nearest", output=found[:, PEAKS])
    return found


def _sum(blocks: Sequence[LinePower], rate_hz: int) -> LinePower:
    """Return the sum of spectra at one rate, which may be none."""
    total = LinePower.nothing(rate_hz)
    if any(block.rate_hz != rate_hz for block in blocks):
        return sum(blocks, total)  # says which rates they are
    for block in blocks:
        np.add(total.power, block.power, out=total.power)
    return LinePower(total.power, sum(block.frames for block in blocks), rate_hz)


@lru_cache(maxsize=8)
def _bins_of_axis(rate_hz: int) -> tuple[Int64, Float64]:
    """Return the bin at or below each point of the axis, and the place of the point up to the next bin, 0 to 1."""
    at = AXIS_HZ * (FRAME_SAMPLES / rate_hz)
    below = at.astype(np.int64)
    return below, at - below


def _levels(powers: Sequence[LinePower]) -> Float64:
    """Return the mean level of a frame on the axis, for spectra of one rate: float64 (spectra, points), dB."""
    below, part = _bins_of_axis(powers[0].rate_hz)
    frames_db = np.array([10.0 * math.log10(max(1, power.frames)) for power in powers])
    level = 10.0 * np.log10(np.stack([power.power for power in powers]) + FLOOR_POWER) - frames_db[:, None]
    on_axis: Float64 = level[:, below] * (1.0 - part) + level[:, below + 1] * part
    return on_axis


def _structure(level: Float64, width: float) -> Float64:
    """Return the level less its background, a running mean (twice) over ``width`` of ln f: (..., points), dB."""
    size = round(width / STEP) | 1
    background = uniform_filter1d(uniform_filter1d(level, size, mode="nearest"), size, mode="nearest")
    structure: Float64 = level - background
    return structure


def best_shifts(
    transforms: Complex128, structures: Float64, norms: Sequence[float], smallest: float
) -> list[tuple[float, float]]:
    """Return the correlation that the best shift gains over none, and that shift, relative to frequency, of each.

    Args:
        transforms: (n, FFT_POINTS // 2 + 1), conjugate transforms of the structures to compare with.
        structures: float64 (n, points).
        norms: product of the norms of both, of each.
        smallest: the smallest shift in ln f that is looked at.
    """
    products = np.fft.irfft(transforms * np.fft.rfft(structures, FFT_POINTS), FFT_POINTS)
    correlations = products[:, _SHIFT_PLACES] / np.array(norms)[:, None]
    beyond = np.where(np.abs(_SHIFTS) >= smallest - 1e-9, correlations, -np.inf)
    best = beyond.argmax(axis=1)
    gains = beyond[np.arange(len(best)), best] - correlations[:, _SHIFT_POINTS]
    return list(zip(gains.tolist(), np.expm1(_SHIFTS)[best].tolist(), strict=True))
