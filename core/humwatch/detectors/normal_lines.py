"""Lines of a machine's normal clips, to find drift, another speed or a missing line in another clip.

The raw scores are close to normally distributed over normal clips as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import AnyArray, Complex128, Float64, Int64
from humwatch.detectors.lines import (
    AXIS_HZ,
    FFT_POINTS,
    MIN_SPEED_CHANGE,
    PEAKS,
    PROMINENCE,
    STEP,
    STRUCTURE,
    ClipLines,
    best_shifts,
    drifts,
    features,
)
from humwatch.errors import CalibrationError

S = TypeVar("S", bound=np.generic)

LineScore = Literal["drift", "speed", "missing"]

SCORES: Final[tuple[LineScore, ...]] = ("drift", "speed", "missing")
"""The raw scores, in the order of their columns."""

USUAL_SPREAD: Final[dict[LineScore, float]] = {"drift": 0.15, "speed": 0.075, "missing": 0.7}
"""Standard deviation of each raw score over the normal clips of a usual machine; few clips are pulled to it."""

NEUTRAL: Final[dict[LineScore, float]] = {"drift": -1.0, "speed": -1.0, "missing": 0.0}
"""Raw scores that show nothing: a correlation of 1 without a shift and 0 with any, and no line that is weaker."""

MIN_PROMINENCE_DB: Final = 3.0
"""A point is a line that can go missing where it stands so far above its background in the mean of normal clips."""

CREST: Final = 0.02
"""Largest distance in ln f between the crest of a missing line and the point that shows it best."""

MAX_MOVE: Final = 0.3
"""Distance in ln f within which a missing line is looked for."""

PRIOR_CLIPS: Final = 4.0
"""A variance is pulled to the median of all points as if so many clips had shown that."""

MIN_STD_DB: Final = 1e-3
"""A level that never moves in calibration would make any rounding an anomaly."""


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
class NormalLines:
    """Lines of a machine's normal clips.

    Attributes:
        count: number of clips.
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
        """Return raw scores of each clip against all other groups: float64 (n, 3), columns as in ``SCORES``.

        Args:
            clips: normal clips.
            groups: int64 (n,), index of each clip's recording.

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

    def arrays(self) -> dict[str, AnyArray]:
        """Return all attributes, as arrays of a file."""
        return {"count": np.array(self.count, np.int64), "sums": self.sums, "squares": self.squares}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.ArrayLike]) -> NormalLines:
        """Restore lines from the result of :meth:`arrays`.

        Raises:
            ValueError: an array is missing, or of another type, shape or value.
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
    def _speed_reference(self) -> tuple[Complex128, Float64, float]:
        """Conjugate transform of the normal structure over its variance, 1 / variance, and its squared norm."""
        structure, precision = self.mean[STRUCTURE], 1.0 / self.variance[STRUCTURE]
        transform = np.conj(np.fft.rfft(structure * precision, FFT_POINTS))
        return transform, precision, float((structure**2 * precision).sum())

    @cached_property
    def _line_test(self) -> tuple[Float64, Float64, Float64]:
        """Mean and standard deviation of the peak features, (2, points), and 1.0 where a line is, else 0.0, (points,)."""
        is_line = self.mean[PEAKS][1] >= MIN_PROMINENCE_DB
        return self.mean[PEAKS], np.sqrt(self.variance[PEAKS]), is_line.astype(np.float64)

    def raw_scores(self, clip: ClipLines) -> Float64:
        """Return drift, speed and missing line of a clip: float64 (3,); ``NEUTRAL`` for one that cannot be judged."""
        return raw_scores([self], [clip])[0]

    def explain(self, clip: ClipLines, which: LineScore) -> LineFinding:
        """Return the lines and the shift behind a raw score; None for what is unknown or cannot be judged."""
        if not clip.is_judgeable:
            return LineFinding(change=which)
        if which == "missing":
            return self._explain_missing(clip)
        if which == "drift":
            shift = clip.drift[1]
            strongest = _strongest_hz(clip.features[PROMINENCE])
            # The line of the whole clip lies between those of its halves.
            before = None if strongest is None else strongest * (1.0 - shift / 2.0)
        else:
            shift = self._speed(clip)[1]
            before = _strongest_hz(self.mean[PROMINENCE])
        after = None if before is None else before * (1.0 + shift)
        return LineFinding(
            change=which,
            before_hz=_rounded_hz(before),
            after_hz=_rounded_hz(after),
            shift_percent=round(100.0 * shift, 2),
        )

    def _speed(self, clip: ClipLines) -> tuple[float, float]:
        """Return the raw score of another speed, and the shift against normal, relative.

        It is a correlation in which each point counts by its certainty over normal clips.
        """
        return _speeds([self], clip.features[None])[0]

    def _missing(self, clip: ClipLines) -> tuple[float, int]:
        """Return the raw score of the line that is weaker by most standard deviations, and its point on the axis.

        It has to be weaker in level and in prominence: louder noise around a line only hides it.
        """
        return _missing([self], clip.features[None])[0]

    def _explain_missing(self, clip: ClipLines) -> LineFinding:
        score, point = self._missing(clip)
        if score <= 0.0:
            return LineFinding(change="missing")
        normal, now = self.mean[PEAKS][1], clip.features[PEAKS][1]
        near = _near(point, CREST)
        crest = float(AXIS_HZ[near][self.mean[PROMINENCE, near].argmax()])
        near = _near(point, MAX_MOVE)
        surplus = clip.features[PROMINENCE, near] - normal[near]
        found = float(AXIS_HZ[near][surplus.argmax()]) if surplus.max() >= MIN_PROMINENCE_DB else None
        return LineFinding(
            change="missing",
            before_hz=round(crest, 1),
            after_hz=_rounded_hz(found),
            change_db=round(float(now[point] - normal[point]), 2),
        )


def raw_scores(normal: Sequence[NormalLines], clips: Sequence[ClipLines]) -> Float64:
    """Return :meth:`NormalLines.raw_scores` of clips of several machines: float64 (clips, 3).

    Args:
        normal: normal lines of the machine of each clip.
        clips: clips, of one rate.
    """
    found = np.tile([NEUTRAL[score] for score in SCORES], (len(clips), 1))
    judged = [number for number, clip in enumerate(clips) if clip.is_judgeable]
    if judged:
        machines, some = [normal[number] for number in judged], [clips[number] for number in judged]
        shown = features(some)
        scores = (drifts(some), _speeds(machines, shown), _missing(machines, shown))
        found[judged] = np.array([[first for first, _ in column] for column in scores]).T
    return found


def _speeds(machines: Sequence[NormalLines], shown: Float64) -> list[tuple[float, float]]:
    """Return the raw score of another speed, and the shift, of the features of a clip of each machine."""
    transforms, precisions, squared_norms = zip(*(machine._speed_reference for machine in machines), strict=True)
    structures = np.ascontiguousarray(shown[:, STRUCTURE])
    squares = (structures**2 * _stacked(precisions)).sum(axis=1).tolist()
    norms = [math.sqrt(norm * square + 1e-9) for norm, square in zip(squared_norms, squares, strict=True)]
    return best_shifts(_stacked(transforms), structures, norms, MIN_SPEED_CHANGE)


def _missing(machines: Sequence[NormalLines], shown: Float64) -> list[tuple[float, int]]:
    """Return the raw score of the line that is weaker by most, and its point, of the features of a clip of each."""
    means, stds, lines = map(_stacked, zip(*(machine._line_test for machine in machines), strict=True))
    deficits = ((means - shown[:, PEAKS]) / stds).min(axis=1) * lines  # (machines, points)
    points = deficits.argmax(axis=1)
    return list(zip(deficits[np.arange(len(points)), points].tolist(), points.tolist(), strict=True))


def _stacked(arrays: Sequence[npt.NDArray[S]]) -> npt.NDArray[S]:
    """Return arrays of machines as one; machines of one calibration share theirs."""
    if all(array is arrays[0] for array in arrays):
        return arrays[0][None]
    return np.stack(arrays)


def _sum_of(clips: Sequence[ClipLines]) -> NormalLines:
    """Return the sums over the clips that can be judged, however few."""
    sums, squares, count = np.zeros((4, len(AXIS_HZ))), np.zeros((4, len(AXIS_HZ))), 0
    for clip in clips:
        if clip.is_judgeable:
            sums += clip.features
            squares += clip.features**2
            count += 1
    return NormalLines(count, sums, squares)


def _strongest_hz(prominence: Float64) -> float | None:
    """Return the frequency of the most prominent line, if there is one, Hz."""
    best = int(prominence.argmax())
    return float(AXIS_HZ[best]) if prominence[best] >= MIN_PROMINENCE_DB else None


def _near(point: int, distance: float) -> slice:
    """Return the points within a distance in ln f."""
    reach = round(distance / STEP)
    return slice(max(0, point - reach), point + reach + 1)


def _rounded_hz(frequency: float | None) -> float | None:
    return None if frequency is None else round(frequency, 1)
