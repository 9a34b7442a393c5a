"""Narrow spectral lines of a clip: whether they drift, whether the speed is another, whether one is missing.

Power spectra that are fine enough to tell lines apart (3.9 Hz a bin at 16 kHz; a mel band holds many) are added up
over blocks of sound, and a clip is the sum of its blocks. On an axis of ln f another speed moves all lines of a machine
by the same distance, so it shows as the shift at which two spectra correlate best. What is compared is the level less
its running mean over the axis, so neither loudness nor the colour of the room counts.

The raw scores are close to normally distributed over normal clips as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import get_window

from humwatch.errors import AudioError, AudioRateUnsupported, CalibrationError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

LineScore = Literal["drift", "speed", "missing"]

SCORES: Final[tuple[LineScore, ...]] = ("drift", "speed", "missing")
"""The raw scores, in the order of their columns."""

USUAL_SPREAD: Final[dict[LineScore, float]] = {"drift": 0.15, "speed": 0.075, "missing": 0.7}
"""Standard deviation of each raw score over the normal clips of a usual machine; few clips are pulled to it."""

NEUTRAL: Final[dict[LineScore, float]] = {"drift": -1.0, "speed": -1.0, "missing": 0.0}
"""Raw scores that show nothing: a correlation of 1 without a shift and 0 with any, and no line that is weaker."""

FRAME_SAMPLES: Final = 4096
"""Length of a Hann frame: 256 ms at 16 kHz. Its main lobe is 4 bins (16 Hz) wide (Harris, Proc. IEEE 66, 1978)."""

HOP_SAMPLES: Final = 2048
"""Distance between frames."""

LOW_HZ: Final = 80.0
"""Lowest frequency of the axis; below, the main lobe is broader than the background that it has to stand out of."""

HIGH_HZ: Final = 6_000.0
"""End of the axis; at 16 kHz it leaves 1.3 for what a faster machine pushes up to a resampler's roll-off."""

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

MIN_PROMINENCE_DB: Final = 3.0
"""A point is a line that can go missing where it stands so far above its background in the mean of normal clips."""

CREST: Final = 0.02
"""How far in ln f the crest of a missing line is from the point that shows it best."""

MAX_MOVE: Final = 0.3
"""How far in ln f from a missing line it is looked for."""

PRIOR_CLIPS: Final = 4.0
"""A variance is pulled to the median of all points as if so many clips had shown that."""

MIN_STD_DB: Final = 1e-3
"""A level that never moves in calibration would make any rounding an anomaly."""

FLOOR_POWER: Final = 1e-12
"""Added to every power, for the logarithm of 0; the rounding of 16 bits has 1e-7 in every frame."""

_RATE_HZ: Final = 16_000
_SHIFT_POINTS: Final = round(MAX_SHIFT / STEP)
_SHIFTS: Final[Float64] = STEP * np.arange(-_SHIFT_POINTS, _SHIFT_POINTS + 1, dtype=np.float64)  # in ln f
_FFT_POINTS: Final = 1 << (len(AXIS_HZ) + _SHIFT_POINTS).bit_length()  # so that no shift wraps around
_HANN: Final[Float32] = get_window("hann", FRAME_SAMPLES, fftbins=True).astype(np.float32)
# Rows of ClipLines.features.
_STRUCTURE, _PROMINENCE = 0, 1
_PEAKS = slice(2, 4)


class LineFinding(BaseModel):
    """What has become of the lines, in Hz."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    change: LineScore = Field(description="the score that this explains")
    before_hz: float | None = Field(
        None,
        description="frequency before, Hz: of the missing line, or of the strongest line of the machine (speed) or of"
        " the earlier half (drift); none where no line stands out",
    )
    after_hz: float | None = Field(
        None, description="frequency now, Hz; for a missing line the largest surplus near it, which may be that line"
    )
    shift_percent: float | None = Field(None, description="shift of all lines, % of frequency; none for missing")
    change_db: float | None = Field(None, description="change of the missing line's prominence, dB; else none")


@dataclass(frozen=True)
class LinePower:
    """Power spectra of the frames of a stretch of sound, added up.

    Attributes:
        power: float64 (bins,), sum of squared magnitudes, from 0 Hz to just above ``HIGH_HZ``.
        frames: how many frames that was.
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
        """Of no frames.

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
    framed = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES] * _HANN
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
        nothing = LinePower.nothing(blocks[0].rate_hz if blocks else _RATE_HZ)
        return ClipLines(sum(blocks[:half], nothing), sum(blocks[half:], nothing))

    @property
    def whole(self) -> LinePower:
        """Spectra of the whole clip."""
        return self.early + self.late

    @property
    def is_judgeable(self) -> bool:
        """Whether both halves have frames with sound in them; digital silence has no lines."""
        return all(half.frames > 0 and 0.0 < half.power.sum() < np.inf for half in (self.early, self.late))

    @cached_property
    def drift(self) -> tuple[float, float]:
        """Raw score of a drift within the clip, and the shift of the later half against the earlier, relative."""
        early, late = (_structure(_level(half), DRIFT_WIDTH) for half in (self.early, self.late))
        norm = math.sqrt((early**2).sum() * (late**2).sum() + 1e-9)
        return _best_shift(np.conj(np.fft.rfft(early, _FFT_POINTS)), late, norm, MIN_DRIFT)

    @cached_property
    def features(self) -> Float64:
        """What is compared with normal clips: float64 (4, points), dB.

        Rows are the structure that speed is read from, the prominence of lines, and the highest level and the
        highest prominence within ``MIN_SPEED_CHANGE`` of each point.
        """
        level = _level(self.whole)
        prominence = _structure(level, LINE_WIDTH)
        structure = np.clip(_structure(level, SPEED_WIDTH), -MAX_STRUCTURE_DB, MAX_STRUCTURE_DB)
        size = 2 * round(MIN_SPEED_CHANGE / STEP) + 1
        peaks = maximum_filter1d(np.stack([level, prominence]), size, axis=1, mode="nearest")
        return np.concatenate([structure[None], prominence[None], peaks])  # (4, points)


@dataclass(frozen=True)
class NormalLines:
    """Lines of a machine's normal clips.

    Attributes:
        count: how many clips.
        sums: float64 (4, points), sum of their features, dB.
        squares: float64 (4, points), sum of the squares of their features.
    """

    count: int
    sums: Float64
    squares: Float64

    @staticmethod
    def fit(clips: Sequence[ClipLines]) -> NormalLines:
        """Fit to normal clips; those that cannot be judged are left out.

        Raises:
            CalibrationError: fewer than two can be judged.
        """
        return _sum_of(clips)._checked()

    @staticmethod
    def cross_fitted(clips: Sequence[ClipLines], groups: Int64) -> Float64:
        """Raw scores of each clip against the clips of all other groups: float64 (n, 3), columns as in ``SCORES``.

        Args:
            clips: normal clips.
            groups: int64 (n,), the recording that each clip is of.

        Raises:
            CalibrationError: there are fewer than two clips outside a group that can be judged.
        """
        if len(groups) != len(clips):
            raise ValueError(f"{len(clips)} clips, but {len(groups)} groups")
        everything = _sum_of(clips)
        scores = np.empty((len(clips), len(SCORES)))
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group).tolist()
            own = _sum_of([clips[member] for member in members])
            others = NormalLines(
                everything.count - own.count, everything.sums - own.sums, everything.squares - own.squares
            )._checked()
            for member in members:
                scores[member] = others.raw_scores(clips[member])
        return scores

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything, as arrays of a file."""
        return {"count": np.array(self.count, np.int64), "sums": self.sums, "squares": self.squares}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.ArrayLike]) -> NormalLines:
        """Restore what :meth:`arrays` gave.

        Raises:
            ValueError: an array is missing, or is not what it has to be.
        """
        missing = {"count", "sums", "squares"} - set(arrays)
        if missing:
            raise ValueError(f"statistics of lines lack {', '.join(sorted(missing))}")
        count = np.asarray(arrays["count"])
        if count.shape != () or count.dtype.kind not in "iu" or count < 2:
            raise ValueError("count of lines has to be a whole number of at least 2 clips")
        for name in ("sums", "squares"):
            values = np.asarray(arrays[name])
            if values.dtype != np.float64 or values.shape != (4, len(AXIS_HZ)):
                expected = f"float64 of shape {(4, len(AXIS_HZ))}"
                raise ValueError(f"{name} of lines are {values.dtype} of shape {values.shape}, not {expected}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} of lines are not finite")
        return NormalLines(int(count), np.array(arrays["sums"]), np.array(arrays["squares"]))

    def _checked(self) -> NormalLines:
        if self.count < 2:
            raise CalibrationError(f"{self.count} normal clip(s) with sound; two at least are needed for lines")
        return self

    @cached_property
    def mean(self) -> Float64:
        """Mean features: float64 (4, points), dB."""
        return self.sums / self.count

    @cached_property
    def variance(self) -> Float64:
        """Variance of the features between clips, pulled to the median point's: float64 (4, points), dB^2."""
        freedom = self.count - 1
        sample = np.maximum(self.squares / self.count - self.mean**2, MIN_STD_DB**2) * (self.count / freedom)
        median = np.median(sample, axis=1, keepdims=True)
        return (freedom * sample + PRIOR_CLIPS * median) / (freedom + PRIOR_CLIPS)

    @cached_property
    def _speed_reference(self) -> tuple[npt.NDArray[np.complex128], Float64, float]:
        """Conjugate transform of the normal structure over its variance, 1 / variance, and its squared norm."""
        structure, precision = self.mean[_STRUCTURE], 1.0 / self.variance[_STRUCTURE]
        transform = np.conj(np.fft.rfft(structure * precision, _FFT_POINTS))
        return transform, precision, float((structure**2 * precision).sum())

    @cached_property
    def _line_test(self) -> tuple[Float64, Float64]:
        """Standard deviation of the two peak features, (2, points), and 1.0 where a line is, else 0.0, (points,)."""
        is_line = self.mean[_PEAKS][1] >= MIN_PROMINENCE_DB
        return np.sqrt(self.variance[_PEAKS]), is_line.astype(np.float64)

    def raw_scores(self, clip: ClipLines) -> Float64:
        """Drift, speed and missing line of a clip: float64 (3,); ``NEUTRAL`` for one that cannot be judged."""
        if not clip.is_judgeable:
            return np.array([NEUTRAL[score] for score in SCORES])
        return np.array([clip.drift[0], self._speed(clip)[0], self._missing(clip)[0]])

    def explain(self, clip: ClipLines, which: LineScore) -> LineFinding:
        """Name the lines and the shift behind a raw score; what is not known, or cannot be judged, is None."""
        if not clip.is_judgeable:
            return LineFinding(change=which)
        if which == "missing":
            return self._explain_missing(clip)
        if which == "drift":
            shift = clip.drift[1]
            strongest = _strongest_hz(clip.features[_PROMINENCE])
            # The line of the whole clip lies between those of its halves.
            before = None if strongest is None else strongest * (1.0 - shift / 2.0)
        else:
            shift = self._speed(clip)[1]
            before = _strongest_hz(self.mean[_PROMINENCE])
        after = None if before is None else before * (1.0 + shift)
        return LineFinding(
            change=which,
            before_hz=_rounded_hz(before),
            after_hz=_rounded_hz(after),
            shift_percent=round(100.0 * shift, 2),
        )

    def _speed(self, clip: ClipLines) -> tuple[float, float]:
        """Raw score of another speed, and the shift against normal, relative.

        A correlation in which each point counts by how certain it is over normal clips.
        """
        transform, precision, squared_norm = self._speed_reference
        structure = clip.features[_STRUCTURE]
        norm = math.sqrt(squared_norm * (structure**2 * precision).sum() + 1e-9)
        return _best_shift(transform, structure, norm, MIN_SPEED_CHANGE)

    def _missing(self, clip: ClipLines) -> tuple[float, int]:
        """Raw score of the line that is weaker by most standard deviations, and its point on the axis.

        It has to be weaker in level and in prominence: louder noise around a line only hides it.
        """
        std, is_line = self._line_test
        deficits = ((self.mean[_PEAKS] - clip.features[_PEAKS]) / std).min(axis=0) * is_line  # (points,)
        point = int(deficits.argmax())
        return float(deficits[point]), point

    def _explain_missing(self, clip: ClipLines) -> LineFinding:
        score, point = self._missing(clip)
        if score <= 0.0:
            return LineFinding(change="missing")
        normal, now = self.mean[_PEAKS][1], clip.features[_PEAKS][1]
        near = _near(point, CREST)
        crest = float(AXIS_HZ[near][self.mean[_PROMINENCE, near].argmax()])
        near = _near(point, MAX_MOVE)
        surplus = clip.features[_PROMINENCE, near] - normal[near]
        found = float(AXIS_HZ[near][surplus.argmax()]) if surplus.max() >= MIN_PROMINENCE_DB else None
        return LineFinding(
            change="missing",
            before_hz=round(crest, 1),
            after_hz=_rounded_hz(found),
            change_db=round(float(now[point] - normal[point]), 2),
        )


def _sum_of(clips: Sequence[ClipLines]) -> NormalLines:
    """Sums over the clips that can be judged, however few."""
    sums, squares, count = np.zeros((4, len(AXIS_HZ))), np.zeros((4, len(AXIS_HZ))), 0
    for clip in clips:
        if clip.is_judgeable:
            sums += clip.features
            squares += clip.features**2
            count += 1
    return NormalLines(count, sums, squares)


@lru_cache(maxsize=8)
def _bins_of_axis(rate_hz: int) -> tuple[Int64, Float64]:
    """The bin at or below each point of the axis, and how far the point lies to the next bin, 0 to 1."""
    at = AXIS_HZ * (FRAME_SAMPLES / rate_hz)
    below = at.astype(np.int64)
    return below, at - below


def _level(power: LinePower) -> Float64:
    """Mean level of a frame on the axis: float64 (points,), dB."""
    below, part = _bins_of_axis(power.rate_hz)
    level = 10.0 * np.log10(power.power + FLOOR_POWER) - 10.0 * math.log10(max(1, power.frames))
    on_axis: Float64 = level[below] * (1.0 - part) + level[below + 1] * part
    return on_axis


def _structure(level: Float64, width: float) -> Float64:
    """What stands out of the background, which is a running mean (twice) over ``width`` of ln f: (points,), dB."""
    size = round(width / STEP) | 1
    background = uniform_filter1d(uniform_filter1d(level, size, mode="nearest"), size, mode="nearest")
    structure: Float64 = level - background
    return structure


def _best_shift(
    transform: npt.NDArray[np.complex128], structure: Float64, norm: float, smallest: float
) -> tuple[float, float]:
    """How much better the best shift fits than none, as correlation, and that shift, relative to frequency.

    Args:
        transform: conjugate transform of what the structure is compared with.
        structure: float64 (points,).
        norm: product of the norms of both.
        smallest: the smallest shift in ln f that is looked at.
    """
    product = np.fft.irfft(transform * np.fft.rfft(structure, _FFT_POINTS), _FFT_POINTS)
    correlation = product[np.arange(-_SHIFT_POINTS, _SHIFT_POINTS + 1)] / norm
    beyond = np.where(np.abs(_SHIFTS) >= smallest - 1e-9, correlation, -np.inf)
    best = int(beyond.argmax())
    return float(beyond[best] - correlation[_SHIFT_POINTS]), float(np.expm1(_SHIFTS[best]))


def _strongest_hz(prominence: Float64) -> float | None:
    """Frequency of the most prominent line, if there is one, Hz."""
    best = int(prominence.argmax())
    return float(AXIS_HZ[best]) if prominence[best] >= MIN_PROMINENCE_DB else None


def _near(point: int, distance: float) -> slice:
    """Points that lie within a distance in ln f."""
    reach = round(distance / STEP)
    return slice(max(0, point - reach), point + reach + 1)


def _rounded_hz(frequency: float | None) -> float | None:
    return None if frequency is None else round(frequency, 1)
